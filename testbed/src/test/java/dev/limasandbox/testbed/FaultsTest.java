package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A bad day: each step fails, hangs or is killed, and the same command again succeeds, or says how. */
class FaultsTest {
    private static World world;
    private static Path project;
    private static Path faults;
    private static int number;

    @BeforeAll
    static void base() {
        world = World.shared();
        project = world.project("faults");
        faults = world.lima.resolve("_faults");
    }

    @AfterAll
    static void delete() {
        wanted();
        gone();
    }

    /** Nothing of the sandbox f is there, nor a record of it. */
    private static void gone() {
        if (Files.exists(world.lima.resolve("f/lima.yaml"))) {
            world.delete("f");
        }
        Sh.remove(world.lima.resolve("f"));
        remove(world.lima.resolve("_sandbox/locks/f.lock"));
    }

    @BeforeEach
    void noneReached() {
        wanted();
        remove(world.lima.resolve("_faults.reached"));
    }

    @AfterEach
    void none() {
        wanted();
    }

    private static void wanted(String... words) {
        World.write(faults, String.join("\n", words));
    }

    private static void reached(String fault) {
        World.await(60, fault + " is reached",
                () -> Sh.readOr(world.lima.resolve("_faults.reached"), "").equals(fault));
    }

    private static void remove(Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The sandbox f is there, and stopped or gone as a case needs it: what it begins with. */
    private static void at(String step) {
        if (step.matches("create|clone")) {
            gone();
        } else {
            if (!Files.exists(world.lima.resolve("f/lima.yaml"))) {
                gone();
                run("true").exits(0);
            }
            world.limactl("stop", "-f", "f");
        }
    }

    /** A call for the sandbox f; of the step create without a base. */
    private static String[] words(String step, String... command) {
        List<String> words = new java.util.ArrayList<>(
                step.equals("create") ? List.of("--no-base", "--timeout", "60s", "f")
                        : List.of("--timeout", "60s", "f"));
        words.addAll(List.of(command));
        return words.toArray(String[]::new);
    }

    private static Cli.Result run(String... command) {
        return world.at(project).run(words("", command));
    }

    private static void again(String step) {
        wanted();
        world.at(project).run(words(step, "echo", "again")).exits(0).out("again\n");
        assertEquals("Running", world.status("f"));
        assertEquals(List.of("f"), world.sandboxes());
    }

    // --- a step fails, or dies by itself ---

    @ParameterizedTest
    @CsvSource({
            "create, create:fail", "create, create:kill", "clone, clone:fail", "clone, clone:kill", "start, start:fail",
            "start, start:kill", "start, agent:fail", "start, agent:kill", "start, driver:kill", "start, booted:kill",
            "start, boot:kill", "start, start:degraded"
    })
    void whatFailsIsSaidAndTheSameCommandAgainSucceeds(String step, String fault) {
        at(step);
        wanted(fault);
        Cli.Result result = world.at(project).run(words(step, "echo", "hi")).exits(125).out("");
        assertTrue(result.err().contains("sandbox: limactl " + step + " of f failed: "), result.toString());
        again(step);
    }

    @Test
    void aProbeThatNeverHoldsEndsWithTheTimeOutAndTheMachineCanBeEnteredAfter() {
        at("start");
        wanted("start:probe-never");
        world.at(project).run("--timeout", "8s", "f", "true").exits(125).errHas("did not receive an event");
        again("start");
    }

    /** Seen once on a real one: 25 minutes without a word, with two emulated guests at a time. */
    @Test
    void aMachineWithoutASignOfLifeIsBootedOnceMore() {
        at("start");
        wanted("booted:hang");
        Cli.Running ours = world.at(project).start("--timeout", "30s", "f", "echo", "hi");
        ours.awaitErr("f shows no sign of life: its power is cut");
        wanted();
        ours.ends(Duration.ofSeconds(60)).exits(0).out("hi\n");
        at("start");
        wanted("booted:hang");
        world.at(project).run("--timeout", "20s", "f", "true").exits(125)
                .errHas("no sign of life, twice", "f/serial.log");
        again("start");
    }

    /** Seen on a real one: Lima calls an instance running while it shuts down, and the call waited for it to boot. */
    @Test
    void aMachineThatStopsWhileItIsWaitedForIsStartedAgain() {
        at("start");
        wanted("boot:hang");
        Cli.Running first = world.at(project).start("f", "true");
        first.awaitErr("running its boot scripts");
        first.signal("KILL").ends(Duration.ofSeconds(20));
        Cli.Running ours = world.at(project).start("f", "echo", "hi");
        ours.awaitErr("running its boot scripts");
        wanted();
        world.limactl("stop", "-f", "f");
        ours.ends(Duration.ofSeconds(60)).exits(0).out("hi\n")
                .errHas("f was stopping, or crashed as it booted: it is started again");
        again("start");
    }

    @Test
    void aKernelThatCrashedIsBootedOnceMoreAtOnce() {
        at("start");
        wanted("boot:panic");
        Cli.Running ours = world.at(project).start("--timeout", "30m", "f", "echo", "hi");
        ours.awaitErr("f shows no sign of life: its power is cut");
        wanted();
        ours.ends(Duration.ofSeconds(60)).exits(0).out("hi\n");
        again("start");
    }

    @Test
    void aKernelThatCrashedAfterOurDeathIsBootedOnceMoreToo() {
        at("start");
        wanted("boot:panic");
        Cli.Running killed = world.at(project).start("--timeout", "30m", "f", "echo", "hi");
        World.await(60, "it runs", () -> world.status("f").equals("Running"));
        killed.signal("KILL");
        killed.ends(Duration.ofSeconds(30));
        wanted();
        run("echo", "hi").exits(0).out("hi\n").errHas("crashed as it booted: it is started again");
    }

    @Test
    void aFailedSetUpIsSaidAtOnceAndNeverPassesForReady() {
        at("start");
        wanted("start:script-fails");
        for (int i = 0; i < 2; i++) {
            Cli.Result result = run("echo", "hi").exits(125).out("");
            result.errHas("packages: exit code 100", "no network", "limactl shell f", "limactl delete -f f");
        }
        world.limactl("stop", "-f", "f");
        again("start");
    }

    @ParameterizedTest
    @ValueSource(strings = {"list:slow", "start:slow", "agent:slow", "booted:slow", "boot:slow"})
    void whatIsSlowIsWaitedFor(String fault) {
        at("start");
        wanted(fault);
        run("echo", "hi").exits(0).out("hi\n");
        again("start");
    }

    @Test
    void oneThatIsBeingStoppedIsWaitedForAndStarted() throws InterruptedException {
        run("true").exits(0);
        wanted("shutdown:slow");
        Cli.Running stop = Cli.start(world.home, world.environment(), List.of("limactl", "stop", "f"));
        World.await(20, "it is broken", () -> world.status("f").equals("Broken"));
        run("echo", "hi").exits(0).out("hi\n").errLacks("by force");
        stop.ends(Duration.ofSeconds(20)).exits(0);
    }

    @Test
    void aSnapshotWaitsForOneThatIsBeingStopped() throws InterruptedException {
        run("true").exits(0);
        wanted("shutdown:slow");
        Cli.Running stop = Cli.start(world.home, world.environment(), List.of("limactl", "stop", "f"));
        World.await(20, "it is broken", () -> world.status("f").equals("Broken"));
        world.at(project).run("snapshot", "create", "f", "one").exits(0).errLacks("broken");
        stop.ends(Duration.ofSeconds(20)).exits(0);
    }

    // --- somebody is killed while a step hangs ---

    @ParameterizedTest
    @CsvSource({
            "create, create, KILL", "create, create, INT", "clone, clone, KILL", "clone, clone, TERM",
            "start, start, KILL",
            "start, agent, KILL", "start, driver, KILL", "start, booted, INT", "start, boot, KILL"
    })
    void afterOurDeathTheSameCommandWaitsAndSucceeds(String step, String point, String signal) {
        at(step);
        wanted(point + ":hang");
        Cli.Running killed = world.at(project).start(words(step, "echo", "hi"));
        if (point.equals("boot")) {
            World.await(60, "it runs", () -> world.status("f").equals("Running"));
        } else {
            reached(point + ":hang");
        }
        killed.signal(signal);
        killed.ends(Duration.ofSeconds(30));
        Cli.Running next = world.at(project).start(words(step, "echo", "again"));
        if (signal.equals("KILL")) {
            next.awaitErr(point.equals("boot") ? "boot" : "waiting for an interrupted limactl " + step);
        }
        wanted();
        if (point.equals("boot")) {
            world.limactl("stop", "-f", "f"); // the guest does not read the file: its machine is lost while we wait
        }
        Cli.Result result = next.ends(Duration.ofSeconds(90));
        if (!point.equals("boot")) {
            result.exits(0).out("again\n");
        } else {
            again(step);
        }
    }

    @ParameterizedTest
    @CsvSource({"create, create", "clone, clone", "start, start", "start, booted"})
    void afterLimactlsDeathToo(String step, String point) {
        at(step);
        wanted(point + ":hang");
        Cli.Running ours = world.at(project).start(words(step, "echo", "hi"));
        reached(point + ":hang");
        Cli.signal("KILL", limactl(ours));
        ours.ends(Duration.ofSeconds(30)).exits(125).errHas("limactl " + step + " of f failed", "signal 9");
        again(step);
    }

    private static long limactl(Cli.Running ours) {
        return ours.process.descendants()
                .filter(p -> p.info().commandLine().orElse("").contains("StandIn"))
                .filter(p -> !p.info().commandLine().orElse("").contains(" hostagent "))
                .findFirst().orElseThrow().pid();
    }

    private static long pid(String file) {
        return Long.parseLong(World.read(world.lima.resolve("f").resolve(file)).strip());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ha.pid", "qemu.pid"})
    void afterTheDeathOfAgentOrMachineWhileItBoots(String file) {
        at("start");
        wanted("boot:hang");
        Cli.Running ours = world.at(project).start(words("start", "echo", "hi"));
        World.await(60, "it runs", () -> world.status("f").equals("Running"));
        Cli.signal("KILL", pid(file));
        ours.ends(Duration.ofSeconds(60)).exits(125).errHas("limactl start of f failed");
        again("start");
    }

    // --- in the session ---

    private static String marker() {
        number++;
        return ProcessHandle.current().pid() + "" + number + ".25";
    }

    @Test
    void theAgentsDeathInTheSessionIsMendedByTheNextCall() {
        run("true").exits(0);
        String marker = marker();
        Cli.Running session = world.at(project).start("f", "sleep", marker);
        World.await(20, "sleep runs", () -> World.runs("sleep", marker));
        Cli.signal("KILL", pid("ha.pid"));
        World.await(20, "it is broken", () -> world.status("f").equals("Broken"));
        run("echo", "well").exits(0).out("well\n").errHas("its host agent is gone", "limactl stop -f f");
        assertTrue(session.process.isAlive(), session.toString());
        remove(world.lima.resolve("_sandbox/live/f")); // as if our connection were not open
        run("echo", "mended").exits(0).out("mended\n").errHas("its host agent is gone", "started again");
        session.ends(Duration.ofSeconds(20)).exits(125).errHas("lost");
        World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
    }

    @Test
    void theMachinesDeathInTheSessionIsALostConnection() {
        run("true").exits(0);
        String marker = marker();
        Cli.Running session = world.at(project).start("f", "sleep", marker);
        World.await(20, "sleep runs", () -> World.runs("sleep", marker));
        Cli.signal("KILL", pid("qemu.pid"));
        Cli.Result lost = session.ends(Duration.ofSeconds(30)).exits(125).errHas("lost");
        assertEquals(1, lost.err().lines().count(), lost.toString());
        again("start");
    }

    @Test
    void anAgentThatDoesNotAnswerIsMendedToo() {
        at("start");
        wanted("agent:dumb");
        run("true");
        wanted();
        assertEquals("Broken", world.status("f"));
        remove(world.lima.resolve("_sandbox/live/f"));
        run("echo", "mended").exits(0).out("mended\n").errHas("does not answer", "started again");
    }

    // --- after a reboot of the host ---

    @ParameterizedTest
    @CsvSource({"true, true", "true, false", "false, true"})
    void anotherProcessesNumberInThePidFilesHarmsNobody(boolean agent, boolean machine) throws IOException {
        at("start");
        Process other = new ProcessBuilder("sleep", "1000").start();
        try {
            Path dir = world.lima.resolve("f");
            if (agent) {
                World.write(dir.resolve("ha.pid"), other.pid() + "\n");
            }
            if (machine) {
                World.write(dir.resolve("qemu.pid"), other.pid() + "\n");
            }
            for (String socket : List.of("ha.sock", "qmp.sock", "ssh.sock", "sock/stale.sock")) {
                World.write(dir.resolve(socket), "");
            }
            again("start");
            assertTrue(other.isAlive());
            assertFalse(Files.exists(dir.resolve("sock/stale.sock")));
            assertFalse(Files.isRegularFile(dir.resolve("qmp.sock"))); // the machine's own again
        } finally {
            other.destroyForcibly();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"limactl hostagent --x f", "qemu -name lima-f -x"})
    void norDoesOneThatLooksLikeItButIsYounger(String title) throws IOException {
        at("start");
        Process other = new ProcessBuilder(List.of("sh", "-c", "sleep 1000; exit", title.split(" ")[0], title.split(
                " ")[1], title.split(" ")[2], title.split(" ")[3])).start();
        try {
            for (String file : List.of("ha.pid", "qemu.pid")) {
                Path pid = World.write(world.lima.resolve("f").resolve(file), other.pid() + "\n");
                Files.setLastModifiedTime(pid, FileTime.from(Instant.now().minusSeconds(3600)));
            }
            again("start");
            assertTrue(other.isAlive());
        } finally {
            other.descendants().forEach(ProcessHandle::destroyForcibly);
            other.destroyForcibly();
        }
    }

    // --- what is left of a create or clone ---

    private static Path halfMade(boolean yaml) {
        gone();
        Path dir = world.lima.resolve("f");
        World.write(dir.resolve("disk"), "part of it");
        if (yaml) {
            World.write(dir.resolve("lima.yaml"), "images: [{location: /nowhere}]\n");
        }
        return dir;
    }

    @Test
    void aDirectoryWithoutYamlAndRecordIsNamedAndLeft() {
        Path dir = halfMade(false);
        try {
            run("true").exits(125).errHas(dir.toString(), "rm -rf '" + dir + "'");
            assertTrue(Files.exists(dir.resolve("disk")));
            world.at(project).run("--from", "f", "g", "true").exits(125).errHas("rm -rf '" + dir + "'");
        } finally {
            Sh.remove(dir);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"create f", "clone f 1 1", "clone f 2147480000 1700000000000", "delete f"})
    void oneThatOurRecordTellsOfIsRemoved(String record) {
        halfMade(false);
        World.write(world.lima.resolve("_sandbox/locks/f.lock"), record);
        again("clone");
    }

    @Test
    void anInstanceOfSomebodyElseStaysWhateverTheRecordSays() {
        Path dir = halfMade(true);
        try {
            World.write(world.lima.resolve("_sandbox/locks/f.lock"), "create f 1 1");
            run("true").exits(125).errHas("did not make");
            assertTrue(Files.exists(dir.resolve("lima.yaml")));
        } finally {
            Sh.remove(dir);
        }
    }

    // --- --rm ---

    @Test
    void aKilledOneWithRmIsDeletedByTheNextWithRm() {
        gone();
        String marker = marker();
        Cli.Running killed = world.at(project).start("--rm", "f", "sleep", marker);
        World.await(60, "sleep runs; " + killed, () -> World.runs("sleep", marker));
        world.at(project).run("--rm", "f", "true").exits(0); // not its maker: leaves it
        assertEquals(List.of("f"), world.sandboxes());
        killed.signal("KILL");
        killed.ends(Duration.ofSeconds(20));
        assertEquals(List.of("f"), world.sandboxes());
        world.at(project).run("--rm", "f", "echo", "again").exits(0).out("again\n");
        assertEquals(List.of(), world.sandboxes());
    }

    @Test
    void withoutRmTheNextKeepsIt() {
        gone();
        String marker = marker();
        Cli.Running killed = world.at(project).start("--rm", "f", "sleep", marker);
        World.await(60, "sleep runs; " + killed, () -> World.runs("sleep", marker));
        killed.signal("KILL");
        killed.ends(Duration.ofSeconds(20));
        world.limactl("stop", "f");
        run("true").exits(0);
        world.at(project).run("--rm", "f", "true").exits(0);
        assertEquals(List.of("f"), world.sandboxes());
    }

    @Test
    void anInterruptedDeletionIsFinishedByTheNextCall() {
        gone();
        wanted("delete:kill");
        world.at(project).run("--rm", "f", "true");
        again("clone");
    }

    // --- the terminal ---

    private static Terminal shell() {
        return new Terminal(world.root, project, world.environment(), List.of("sh", "-i"));
    }

    private static final String STATE = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag}";

    private static void cut(String how, long shell) {
        switch (how) {
            case "machine" -> Cli.signal("KILL", pid("qemu.pid"));
            case "stop" -> world.limactl("stop", "-f", "f");
            case "sshd" -> processes("sshd", "").forEach(p -> p.destroyForcibly());
            case "master" -> processes("ssh", "-MNf").filter(p -> line(p).contains("/_sandbox/")).forEach(
                    ProcessHandle::destroyForcibly);
            case "ssh" -> ours(shell, "ssh").destroyForcibly();
            case "sandbox" -> ours(shell, "java").destroyForcibly();
            default -> throw new IllegalArgumentException(how);
        }
    }

    private static String line(ProcessHandle process) {
        return process.info().commandLine().orElse("");
    }

    private static java.util.stream.Stream<ProcessHandle> processes(String program, String word) {
        ProcessHandle machine = ProcessHandle.of(pid("qemu.pid")).orElseThrow();
        java.util.stream.Stream<ProcessHandle> all = program.equals("sshd") ? machine.descendants()
                : ProcessHandle.allProcesses().filter(p -> line(p).contains(world.lima + "/f/"));
        return all.filter(p -> p.info().command().orElse("").matches(".*/" + program + "[a-z-]*"))
                .filter(p -> line(p).contains(word));
    }

    private static ProcessHandle ours(long shell, String program) {
        Optional<ProcessHandle> found = ProcessHandle.of(shell).stream().flatMap(ProcessHandle::descendants)
                .filter(p -> p.info().command().orElse("").endsWith("/" + program)).findFirst();
        return found.orElseThrow();
    }

    @ParameterizedTest
    @ValueSource(strings = {"machine", "stop", "sshd", "master", "ssh", "sandbox"})
    void aFullScreenProgramsLostConnectionLeavesTheTerminalSane(String how) {
        run("true").exits(0);
        String marker = marker();
        String program = "stty raw -echo; printf '\\033[?1049h\\033[2J\\033[5;30Hin the %s\\033[?25l\\033[?1000h\\033[?1003h"
                + "\\033[?1006h\\033[?1004h\\033[?2004h\\033[?1h\\033=\\033[31m' middle; sleep " + marker;
        try (Terminal terminal = shell()) {
            terminal.type("PS1='<shell> '; echo be\"fore\"").press("Enter").await("before");
            terminal.type(World.CHECKOUT + "/sandbox f sh -c " + Sh.quote(program) + "; echo \"code $?\"")
                    .press("Enter").await("in the middle");
            World.await(10, "sleep runs", () -> World.runs("sleep", marker));
            assertEquals("1 0 1 1", terminal.state(STATE));
            cut(how, terminal.pid());
            if (!how.equals("sandbox")) { // the shell is back at once then, and what it says is on the other screen
                terminal.await(how.equals("ssh") ? "code 137" : "code 125");
            }
            World.await(10, "the terminal is sane; " + terminal.state(STATE),
                    () -> terminal.state(STATE).equals("0 1 0 0"));
            terminal.press("Enter");
            World.await(Duration.ofSeconds(20), terminal::screen, () -> terminal.screen().strip().endsWith("<shell>"));
            terminal.type("echo $((40+2)) sane").press("Enter").await("42 sane");
            assertTrue(terminal.screen().contains("<shell> echo $((40+2)) sane"), terminal.screen());
            assertTrue(terminal.screen().contains("before"), terminal.screen());
            assertFalse(terminal.screen().contains("in the middle"), terminal.screen());
            if (!how.matches("ssh|sandbox")) {
                assertTrue(terminal.screen().contains("sandbox: the connection to f was lost"), terminal.screen());
            }
        }
        World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
        if (how.equals("sshd")) {
            world.at(project).run("--timeout", "5s", "f", "true").exits(125).errHas("does not answer",
                    "limactl stop -f f");
            world.limactl("stop", "-f", "f");
        }
    }

    @Test
    void withoutAFullScreenProgramTheScreenStaysAsItWas() {
        run("true").exits(0);
        try (Terminal terminal = shell()) {
            terminal.type("PS1='<shell> '; printf '\\033[?1049h\\033[5;5Hx\\033[?1049l'; echo ear\"lier\"; echo line")
                    .press("Enter").await("earlier");
            terminal.type(World.CHECKOUT + "/sandbox f").press("Enter").await("$ ");
            terminal.type("echo $((1+1)) inside").press("Enter").await("2 inside");
            cut("machine", terminal.pid());
            terminal.await("was lost");
            List<String> lines = terminal.screen().lines().toList();
            int lost = lines.size() - 1;
            while (!lines.get(lost).contains("was lost")) {
                lost--;
            }
            String above = String.join("\n", lines.subList(0, lost));
            assertTrue(above.contains("earlier\nline\n") && above.contains("2 inside"), terminal.screen());
        }
    }

    @Test
    void afterANormalEndTheTerminalIsLeftAlone() {
        run("true").exits(0);
        for (String end : List.of("exit 0", "exit 130", "exit 255", "kill -KILL $$")) {
            try (Terminal terminal = world.at(project).terminal("f", "sh", "-c", end)) {
                terminal.exits(end.equals("kill -KILL $$") ? 137 : Integer.parseInt(end.substring(5)));
                assertFalse(terminal.raw().contains("\033[?1049l"), terminal.raw());
            }
        }
    }
}
