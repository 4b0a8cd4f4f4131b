package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Several calls at once, and calls that come to a sudden end: nothing is broken, nothing stays half-made. */
class ConcurrencyTest {
    private static final Duration LONG = Duration.ofSeconds(120);

    private World world;

    @AfterEach
    void close() {
        if (world != null) {
            world.close();
        }
    }

    @Test
    void firstCallsAtTheSameMomentMakeOneBaseAndOneSandboxEach() {
        world = World.fresh();
        Path one = world.project("one");
        Path two = world.project("two");
        List<Cli.Running> calls = List.of(
                world.at(one).start("one", "echo", "a"),
                world.at(one).start("one", "echo", "b"),
                world.at(two).start("two", "echo", "c"));
        List<String> outs = new ArrayList<>();
        List<String> errs = new ArrayList<>();
        for (Cli.Running call : calls) {
            Cli.Result result = call.ends(LONG).exits(0);
            outs.add(result.out());
            errs.add(result.err());
        }
        assertEquals(List.of("a\n", "b\n", "c\n"), outs);
        assertEquals(List.of("one", "two"), world.sandboxes());
        assertEquals(3, world.instances().size(), world.instances().toString());
        assertEquals(1, errs.stream().filter(e -> e.contains("booting one")).count(), errs.toString());
        assertTrue(Stream.of(0, 1).anyMatch(i -> errs.get(i).contains("waiting for another call")), errs.toString());
    }

    @Test
    void aStoppedSandboxIsStartedOnceForAllThatCome() {
        world = World.fresh();
        Path one = world.project("one");
        world.at(one).run("--no-base", "one", "true").exits(0);
        world.stop("one");
        List<Cli.Running> calls = Stream.of("a", "b", "c").map(w -> world.at(one).start("one", "echo", w)).toList();
        for (int i = 0; i < 3; i++) {
            calls.get(i).ends(LONG).exits(0).out("abc".charAt(i) + "\n");
        }
        // Of two starts at once the loser would have deleted the winner's log.
        assertEquals("Running", world.status("one"));
        world.stop("one");
        assertEquals("Stopped", world.status("one"));
    }

    @Test
    void twelveSessionsInOneSandboxDoNotDisturbEachOther() {
        world = World.fresh();
        Path one = world.project("one");
        world.at(one).run("--no-base", "one", "true").exits(0);
        List<Cli.Running> sessions = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            sessions.add(world.at(one).env("OPENAI_API_KEY", "key" + i)
                    .start("one", "sh", "-c", "echo begun; read line; echo \"$line $OPENAI_API_KEY\"; exit " + i));
        }
        sessions.forEach(s -> s.awaitOut("begun"));
        for (int i = 0; i < 12; i++) {
            sessions.get(i).type(("line" + i + "\n").getBytes(java.nio.charset.StandardCharsets.UTF_8));
        }
        for (int i = 0; i < 12; i++) {
            Cli.Result result = sessions.get(i).ends(LONG).exits(i).out("begun\nline" + i + " key" + i + "\n");
            assertEquals(1, result.err().lines().count(), result.err());
        }
    }

    // --- a sudden end, then the same command again ---

    @ParameterizedTest
    @ValueSource(strings = {"creating base", "booting base", "clearing"})
    void afterOurSuddenDeathTheSameCommandSucceeds(String moment) {
        world = World.fresh();
        Path one = world.project("one");
        Cli.Running killed = world.at(one).start("one", "echo", "hi");
        killed.awaitErr(moment).signal("KILL");
        world.at(one).limit(LONG).run("one", "echo", "hi").exits(0).out("hi\n");
        assertEquals(List.of("one"), world.sandboxes());
        assertEquals(2, world.instances().size(), world.instances().toString());
        world.stop("one");
    }

    @ParameterizedTest
    @ValueSource(strings = {"cloning", "booting sudden"})
    void afterOurSuddenDeathWithABaseToo(String moment) {
        World shared = World.shared();
        Path directory = shared.project("sudden");
        try {
            shared.at(directory).start("sudden", "echo", "hi").awaitErr(moment).signal("KILL");
            shared.at(directory).limit(LONG).run("sudden", "echo", "hi").exits(0).out("hi\n");
            shared.stop("sudden");
        } finally {
            shared.delete("sudden");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"creating one", "booting one"})
    void afterOurSuddenDeathWithoutABaseToo(String moment) {
        world = World.fresh();
        Path one = world.project("one");
        Cli.Running killed = world.at(one).start("--no-base", "one", "echo", "hi");
        killed.awaitErr(moment).signal("KILL");
        world.at(one).limit(LONG).run("one", "echo", "hi").exits(0).out("hi\n");
        assertEquals(List.of("one"), world.sandboxes());
    }

    @ParameterizedTest
    @ValueSource(strings = {"creating base", "booting base"})
    void controlCWhileTheBaseIsBuiltLeavesNothing(String moment) {
        world = World.fresh();
        Path one = world.project("one");
        try (Terminal terminal = world.at(one).terminal("one", "echo", "hi")) {
            terminal.await(moment).press("C-c").exits(130);
        }
        assertNothingRuns();
        assertEquals(List.of(), world.instances());
        world.at(one).limit(LONG).run("one", "echo", "hi").exits(0).out("hi\n");
    }

    @Test
    void controlCWhileItBootsStopsNothingHalfway() {
        world = World.fresh();
        Path one = world.project("one");
        try (Terminal terminal = world.at(one).terminal("--no-base", "one", "echo", "hi")) {
            terminal.await("booting one").press("C-c").exits(130);
        }
        World.await(20, "limactl start ends", () -> limactl().noneMatch(line -> line.contains(" start ")));
        world.at(one).limit(LONG).run("one", "echo", "hi").exits(0).out("hi\n");
        assertEquals("Running", world.status("one"));
    }

    private Stream<String> limactl() {
        return ProcessHandle.allProcesses()
                .filter(p -> p.info().commandLine().orElse("").contains("StandIn"))
                .filter(p -> belongsHere(p))
                .map(p -> p.info().commandLine().orElse(""));
    }

    /** Linux tells a process's environment; elsewhere all of them count. */
    private boolean belongsHere(ProcessHandle process) {
        Path environ = Path.of("/proc/" + process.pid() + "/environ");
        try {
            return !java.nio.file.Files.exists(environ)
                    || java.nio.file.Files.readString(environ, java.nio.charset.StandardCharsets.ISO_8859_1)
                            .contains("LIMA_HOME=" + world.lima + "\0");
        } catch (java.io.IOException e) {
            return false;
        }
    }

    private void assertNothingRuns() {
        World.await(20, "no limactl is left", () -> limactl().findAny().isEmpty());
    }
}
