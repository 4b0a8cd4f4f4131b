package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The session on a terminal, driven through tmux as a person would. */
class TerminalTest {
    private static World world;
    private static Path project;
    private static int number;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("terminal");
        world.at(project).run("terminal", "true").exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("terminal");
    }

    private static Terminal run(String... command) {
        String[] words = new String[command.length + 1];
        words[0] = "terminal";
        System.arraycopy(command, 0, words, 1, command.length);
        return world.at(project).terminal(words);
    }

    private static synchronized String marker() {
        number++;
        return ProcessHandle.current().pid() + "" + number + ".75";
    }

    @Test
    void theCommandHasATerminal() {
        try (Terminal terminal = run("sh", "-c",
                "test -t 0 && test -t 1 && test -t 2 && echo all three; echo $TERM; stty size")) {
            terminal.await("all three").await("xterm-256color").await("24 80").exits(0);
        }
    }

    @Test
    void aLoginShellIsThere() {
        try (Terminal terminal = run()) {
            terminal.type("echo $((40+2)) in $PWD").press("Enter").await("42 in " + project);
            terminal.type("exit 3").press("Enter").exits(3);
        }
    }

    @Test
    void controlDEndsTheShell() {
        try (Terminal terminal = run()) {
            terminal.type("echo $((40+2))").press("Enter").await("42").press("C-d").exits(0);
        }
    }

    @Test
    void termOfTheCallCounts() {
        try (Terminal terminal = world.at(project).env("TERM", "screen-256color").terminal("terminal", "sh", "-c",
                "echo =$TERM=")) {
            terminal.await("=screen-256color=").exits(0);
        }
    }

    @Test
    void aTerminalThatTheGuestDoesNotKnowIsInstalledOnce() {
        Path source = World.write(world.home.resolve("zz.ti"),
                world.run(world.home, "infocmp", "-x", "xterm").replaceFirst(
                        "(?m)^xterm\\|", "zz-strange|") + "\n");
        world.run(world.home, "tic", "-x", "-o", world.home.resolve(".terminfo").toString(), source.toString());
        Cli cli = world.at(project).env("TERM", "zz-strange");
        try (Terminal terminal = cli.terminal("terminal", "sh", "-c", "infocmp $TERM >/dev/null && echo knows $TERM")) {
            terminal.await("knows zz-strange").exits(0);
            assertTrue(terminal.screen().contains("sandbox: "), terminal.screen());
        }
        try (Terminal terminal = cli.terminal("terminal", "sh", "-c", "echo again $TERM")) {
            terminal.await("again zz-strange").exits(0);
            assertFalse(terminal.screen().contains("sandbox: "), terminal.screen());
        }
    }

    @Test
    void aTerminalThatNobodyKnowsIsAnXterm() {
        try (Terminal terminal = world.at(project).env("TERM", "zz-nowhere").terminal("terminal", "sh", "-c",
                "echo =$TERM=")) {
            terminal.await("=xterm-256color=").await("zz-nowhere").exits(0);
        }
    }

    @Test
    void theWindowsNewSizeReachesTheProgram() {
        try (Terminal terminal = run("sh", "-c", "trap 'stty size' WINCH; echo begun; while :; do sleep 0.1; done")) {
            terminal.await("begun").resize(100, 40).await("40 100").press("C-c").exits(130);
        }
    }

    @Test
    void controlCReachesTheProgramAndOnlyIt() {
        try (Terminal terminal = run("sh", "-c",
                "trap 'echo caught; exit 5' INT; echo begun; while :; do sleep 0.1; done")) {
            terminal.await("begun").press("C-c").await("caught").exits(5);
        }
        try (Terminal terminal = run()) {
            terminal.type("echo $((1+1)) begun; sleep 100").press("Enter").await("2 begun").press("C-c");
            terminal.type("echo $((40+2)) alive; exit").press("Enter").await("42 alive");
        }
    }

    @Test
    void controlCEndsACommandThatDoesNothingAboutIt() {
        String marker = marker();
        try (Terminal terminal = run("sleep", marker)) {
            World.await(20, "sleep runs", () -> World.runs("sleep", marker));
            terminal.press("C-c").exits(130);
            World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
        }
    }

    @Test
    void aFullScreenProgramHasTheWholeScreenAndEachKey() {
        String program = "stty raw -echo; printf '\\033[?1049h\\033[2J\\033[12;30Hin the middle'; key=$(dd bs=1 count=1 2>/dev/null);"
                + " printf '\\033[?1049l'; stty sane; echo \"key $key\"";
        try (Terminal terminal = run("sh", "-c", program)) {
            terminal.await("in the middle");
            assertTrue(terminal.screen().lines().skip(11).findFirst().orElse("")
                    .startsWith(" ".repeat(29) + "in the middle"), terminal.screen());
            terminal.type("x").await("key x").exits(0);
            assertFalse(terminal.screen().contains("in the middle"), terminal.screen());
        }
    }

    @Test
    void aClosedWindowEndsTheCommand() {
        String marker = marker();
        try (Terminal terminal = run("sleep", marker)) {
            World.await(20, "sleep runs", () -> World.runs("sleep", marker));
            terminal.closeWindow();
            World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
        }
    }

    @Test
    void ourSuddenDeathEndsTheCommand() {
        String marker = marker();
        try (Terminal terminal = run("sh", "-c", "trap : HUP; sleep " + marker)) {
            World.await(20, "sleep runs", () -> World.runs("sleep", marker));
            Cli.signal("KILL", terminal.pid());
            World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
        }
    }

    @Test
    void theDeadMasterEndsTheCommand() {
        String marker = marker();
        try (Terminal terminal = run("sleep", marker)) {
            World.await(20, "sleep runs", () -> World.runs("sleep", marker));
            ProcessHandle.allProcesses()
                    .filter(p -> p.info().commandLine().orElse("").contains("-MNf"))
                    .filter(p -> p.info().commandLine().orElse("").contains(world.lima + "/terminal/"))
                    .filter(p -> p.info().commandLine().orElse("").contains("/_sandbox/")) // the other one is Lima's
                    .forEach(ProcessHandle::destroyForcibly);
            terminal.await("lost").exits(125);
            World.await(10, "sleep ends", () -> !World.runs("sleep", marker));
        }
    }

    @Test
    void exitCodesArriveHereToo() {
        try (Terminal terminal = run("sh", "-c", "exit 255")) {
            terminal.exits(255);
        }
        try (Terminal terminal = run("sh", "-c", "kill -KILL $$")) {
            terminal.exits(137);
        }
    }

    @Test
    void aMissingAgentsNameInTheShellTellsHowToGetIt() {
        try (Terminal terminal = run()) {
            terminal.type("opencode").press("Enter").await("--add-agent opencode");
            terminal.type("exit").press("Enter");
        }
    }

    // --- progress ---

    @Test
    void progressIsOneLineInPlaceWithoutColours() {
        Path new1 = world.project("progress");
        try (Terminal terminal = world.at(new1).terminal("progress", "sh", "-c", "echo the command")) {
            terminal.await("the command").exits(0);
            String before = terminal.raw().substring(0, terminal.raw().indexOf("the command"));
            assertTrue(before.contains("\r"), before);
            assertTrue(before.matches("(?s).*\\d+ s.*"), before);
            assertFalse(before.matches("(?s).*\u001b\\[[0-9;]*m.*"), before);
            for (String part : before.replaceAll("\u001b\\[[0-9;]*[A-Za-z]", "").split("[\r\n]+")) {
                assertTrue(part.length() <= 80, part);
            }
            assertTrue(terminal.screen().contains("booting progress: "), terminal.screen());
        } finally {
            world.delete("progress");
        }
    }

    @Test
    void withoutATerminalProgressIsPlainLines() {
        Path plain = world.project("plain");
        try {
            Cli.Result result = world.at(plain).run("plain", "echo", "out").exits(0).out("out\n")
                    .errHas("booting plain");
            assertFalse(result.err().contains("\r") || result.err().contains("\u001b"), result.err());
            result.err().lines().forEach(line -> assertTrue(line.startsWith("sandbox: "), line));
            assertEquals(result.err().lines().distinct().toList(), result.err().lines().toList());
        } finally {
            world.delete("plain");
        }
    }
}
