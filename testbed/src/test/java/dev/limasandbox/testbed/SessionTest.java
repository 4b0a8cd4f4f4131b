package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The command in the guest, without a terminal: its streams, its environment, its exit code, its end. */
class SessionTest {
    private static World world;
    private static Path project;
    private static int number;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("session");
        world.at(project).run("session", "true").exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("session");
    }

    private static Cli.Result run(String... command) {
        String[] words = new String[command.length + 1];
        words[0] = "session";
        System.arraycopy(command, 0, words, 1, command.length);
        return world.at(project).run(words);
    }

    // --- what the command gets ---

    @Test
    void theLoginProfileCounts() {
        run("sh", "-c", "printf '\\nexport FROM_PROFILE=\"a b\"\\nPATH=$HOME/tools:$PATH\\n' >> ~/.profile;"
                + " mkdir -p ~/tools; printf '#!/bin/sh\\necho found\\n' > ~/tools/mytool; chmod +x ~/tools/mytool")
                .exits(0);
        run("sh", "-c", "echo \"$FROM_PROFILE\"").exits(0).out("a b\n");
        run("mytool").exits(0).out("found\n");
        world.at(project).input("echo \"$FROM_PROFILE\"; mytool; exit 3\n").run("session").exits(3).out("a b\nfound\n");
    }

    @Test
    void theLocaleComesAlongOnlyIfTheGuestHasIt() {
        Cli cli = world.at(project).env("LANG", "xx_YY.UTF-8").env("LC_TIME", "xx_YY.UTF-8");
        cli.run("session", "sh", "-c", "echo \"$LANG <$LC_TIME>\"").exits(0).out("C.UTF-8 <>\n").silent();
        world.at(project).env("LANG", "C.UTF-8").env("LC_TIME", "C")
                .run("session", "sh", "-c", "echo \"$LANG $LC_TIME\"")
                .exits(0)
                .out("C.UTF-8 C\n");
    }

    @Test
    void coloursSettingsPassAndNothingElseOfTheEnvironment() {
        world.at(project)
                .env("NO_COLOR", "1")
                .env("COLORTERM", "truecolor")
                .env("MINE", "secret")
                .env("SSH_AUTH_SOCK", "/tmp/agent")
                .run("session", "sh", "-c", "echo \"$NO_COLOR <$COLORTERM> <$MINE> <$SSH_AUTH_SOCK> <$LIMA_HOME>\"")
                .exits(0)
                .out("1 <truecolor> <> <> <>\n");
    }

    @Test
    void withoutATerminalThereIsNone() {
        run("sh", "-c", "test -t 0 || test -t 1 || test -t 2 || echo none").exits(0).out("none\n");
    }

    // --- streams ---

    @Test
    void pipesAreCleanInBothDirections() {
        byte[] bytes = new byte[700_001];
        new Random(9).nextBytes(bytes);
        for (int i = 0; i < 256; i++) {
            bytes[i] = (byte) i;
        }
        world.at(project).input(bytes).run("session", "cat").exits(0).bytes(bytes).silent();
    }

    @Test
    void stdoutAndStderrAreTheCommandsAlone() {
        Cli.Result result = run("sh", "-c", "echo out; echo err >&2").exits(0).out("out\n");
        assertEquals("err\n", result.err());
    }

    @Test
    void theCommandKnowsInWhichSandboxItIs() {
        run("printenv", "LIMA_SANDBOX").exits(0).out("session\n");
    }

    @Test
    void anInputThatNobodyReadsStopsNothing() {
        world.at(project).input(new byte[3_000_000]).run("session", "head", "-c", "3").exits(0).bytes(new byte[3]);
        run("true").exits(0).out("");
    }

    @Test
    void theEndOfTheInputReachesTheCommand() {
        world.at(project).input("a\nb\n").run("session", "wc", "-l").exits(0).out("2\n");
    }

    @Test
    void aReaderThatStopsEndsTheCommand() {
        String line = World.CHECKOUT + "/sandbox session yes " + marker() + " | head -n 1";
        Cli.start(project, world.environment(), List.of("sh", "-c", line)).ends(Duration.ofSeconds(30)).exits(0);
        awaitEnd("yes");
    }

    // --- what is on record while it runs ---

    @Test
    void aSessionIsOnRecordAsLongAsItLasts() {
        Path records = world.lima.resolve("_sandbox/sessions/session");
        run("true").exits(0);
        Set<String> before = Set.of(records.toFile().list()); // of those that were killed
        Cli.Running session = world.at(project).start("session", "/bin/sh", "-c", "echo up; exec sleep 60 # sk-test");
        session.awaitOut("up");
        Supplier<Stream<String>> added = () -> Stream.of(records.toFile().list())
                .filter(r -> r.matches("[0-9]+") && !before.contains(r));
        World.await(30, "its record, written while ssh runs already", () -> added.get().findAny().isPresent());
        String pid = added.get().findFirst().orElseThrow();
        String born = "" + ProcessHandle.of(Long.parseLong(pid)).orElseThrow().info().startInstant().orElseThrow()
                .toEpochMilli();
        assertEquals(born + " sh\n", World.read(records.resolve(pid)));
        session.signal("TERM").ends(Duration.ofSeconds(30));
        assertFalse(Files.exists(records.resolve(pid)));
    }

    // --- exit codes ---

    @ParameterizedTest
    @CsvSource({"0", "1", "2", "7", "125", "126", "127", "254", "255"})
    void theCommandsExitCodeIsOurs(int code) {
        run("sh", "-c", "exit " + code).exits(code).out("").silent();
    }

    @ParameterizedTest
    @CsvSource({"TERM, 143", "KILL, 137", "SEGV, 139", "INT, 130", "HUP, 129", "PIPE, 141"})
    void deathByASignalIs128AndItsNumber(String signal, int code) {
        run("sh", "-c", "kill -" + signal + " $$; sleep 5").exits(code).out("");
    }

    @Test
    void aMissingProgramIs127() {
        run("no-such-program").exits(127).out("").errHas("no-such-program");
    }

    @Test
    void aLoginShellsExitCodeIsOurs() {
        world.at(project).input("exit 9\n").run("session").exits(9);
        world.at(project).input("kill -TERM $$\n").run("session").exits(143);
        world.at(project).input("false\n").run("session").exits(1);
    }

    // --- the end of the session is the end of the command ---

    private static synchronized String marker() {
        number++;
        return ProcessHandle.current().pid() + "" + number + ".5";
    }

    private static void awaitEnd(String... command) {
        World.await(10, "the guest's command ends: " + String.join(" ", command), () -> ProcessHandle.allProcesses()
                .map(ProcessHandle::info)
                .noneMatch(i -> i.command().orElse("").endsWith("/" + command[0])
                        && String.join(" ", i.arguments().orElse(new String[0])).contains(lastMarker())));
    }

    private static String lastMarker() {
        return ProcessHandle.current().pid() + "" + number + ".5";
    }

    private static Cli.Running sleep(String marker) {
        Cli.Running running = world.at(project).start("session", "sleep", marker);
        World.await(20, "sleep runs; " + running, () -> World.runs("sleep", marker));
        return running;
    }

    private static ProcessHandle ssh(Cli.Running running) {
        return running.process.descendants().filter(p -> p.info().command().orElse("").endsWith("/ssh")).findFirst()
                .orElseThrow();
    }

    private static ProcessHandle master() {
        return ProcessHandle.allProcesses()
                .filter(p -> p.info().commandLine().orElse("").contains("-MNf"))
                .filter(p -> p.info().commandLine().orElse("").contains(world.lima + "/session/"))
                .filter(p -> p.info().commandLine().orElse("").contains("/_sandbox/")) // the other one is Lima's
                .findFirst()
                .orElseThrow();
    }

    @Test
    void killedSshEndsTheCommand() {
        Cli.Running running = sleep(marker());
        ssh(running).destroyForcibly();
        assertNotEquals(0, running.ends(Duration.ofSeconds(20)).exit());
        awaitEnd("sleep");
    }

    @ParameterizedTest
    @ValueSource(strings = {"KILL", "TERM", "INT", "HUP"})
    void ourOwnDeathEndsTheCommandAndItsSsh(String signal) {
        Cli.Running running = sleep(marker());
        ProcessHandle ssh = ssh(running);
        running.signal(signal);
        assertNotEquals(0, running.ends(Duration.ofSeconds(20)).exit());
        awaitEnd("sleep");
        World.await(5, "ssh ends", () -> !ssh.isAlive());
    }

    @Test
    void theDeadMasterEndsTheCommandAndTheNextCallConnectsAgain() {
        Cli.Running running = sleep(marker());
        master().destroyForcibly();
        running.ends(Duration.ofSeconds(20)).exits(125).errHas("connection", "lost");
        awaitEnd("sleep");
        run("echo", "again").exits(0).out("again\n");
    }

    @Test
    void aCommandThatIgnoresTermEndsToo() {
        String marker = marker();
        Cli.Running running = world.at(project).start("session", "sh", "-c",
                "trap '' TERM HUP INT; sleep " + marker + "; sleep " + marker);
        World.await(20, "sleep runs", () -> World.runs("sleep", marker));
        running.signal("KILL");
        awaitEnd("sleep");
    }

    @Test
    void childrenOfTheCommandEndToo() {
        String marker = marker();
        Cli.Running running = world.at(project).start("session", "sh", "-c",
                "sleep " + marker + " & sleep " + marker + " & wait");
        World.await(20, "sleep runs", () -> World.runs("sleep", marker));
        running.signal("KILL");
        awaitEnd("sleep");
    }

    @Test
    void aLostMachineIsOurFailureAndIsStartedAgain() {
        Cli.Running running = sleep(marker());
        world.limactl("stop", "-f", "session");
        running.ends(Duration.ofSeconds(30)).exits(125).errHas("session", "lost");
        run("echo", "again").exits(0).out("again\n");
    }

    @Test
    void quietSaysNothing() {
        world.stop("session");
        Cli.Result result = world.at(project).run("-q", "session", "sh", "-c", "echo out");
        result.exits(0).out("out\n").silent();
        assertFalse(world.status("session").equals("Stopped"));
    }
}
