package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** ghostty-terminfo: descriptions of terminals for a sandbox. */
class TerminfoTest {
    private static World world;
    private static Path project;
    private static Path without;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("terminfo");
        world.at(project).run("terminfo", "true").exits(0);
        without = World.directory(world.root.resolve("without-infocmp"));
        World.executable(without.resolve("infocmp"), "#!/bin/sh\nexit 1\n");
    }

    @AfterAll
    static void delete() {
        world.delete("terminfo");
    }

    /** On a computer without any terminfo of its own. */
    private static Cli cli() {
        return world.at(project).env("PATH", without + ":" + world.environment().get("PATH")).env("TERM", "xterm");
    }

    private static String inGuest(String... command) {
        String[] words = new String[command.length + 1];
        words[0] = "terminfo";
        System.arraycopy(command, 0, words, 1, command.length);
        return world.at(project).run(words).exits(0).out();
    }

    @Test
    void theEntryOfThisComputerIsTakenFromTheTerminalsOwnFolder() {
        Path source = World.write(world.home.resolve("own.ti"), "zz-own|a terminal with a folder of its own,\n\tam,"
                + " Smulx=\\E[4\\:%p1%dm, cols#80, cup=\\E[%i%p1%d;%p2%dH,\n");
        Path folder = World.directory(world.home.resolve("terminal.app"));
        world.run(world.home, "tic", "-x", "-o", folder.toString(), source.toString());
        Cli cli = world.at(project).env("TERMINFO", folder.toString()).env("TERM", "zz-own");

        cli.run("ghostty-terminfo").exits(0).out("").errHas("terminfo knows zz-own now", "of this computer");

        inGuest("sh", "-c", "infocmp -x zz-own | grep Smulx && sudo env -i infocmp zz-own");
        cli.run("ghostty-terminfo", "terminfo").exits(0).errHas("knows zz-own already");
    }

    @ParameterizedTest
    @ValueSource(strings = {"xterm-ghostty", "xterm-kitty", "wezterm", "alacritty", "foot", "contour", "rio", "tmux"})
    void commonTerminalsAreKnownHere(String term) {
        // What the guest has of it already is out of its way.
        inGuest("sh", "-c", "sudo rm -f /etc/terminfo/*/" + term + " ~/.terminfo/*/" + term);
        Cli.Result result = cli().run("ghostty-terminfo", "--all", "--term", term).exits(0);
        result.errHas("knows " + term);
        if (term.startsWith("xterm-")) {
            result.errHas("of this program");
            assertEquals("\033[4:3m", inGuest("tput", "-T", term, "Smulx", "3"));
            assertEquals("256\n", inGuest("tput", "-T", term, "colors"));
        }
    }

    @Test
    void aTerminalThatNobodyKnowsIsNamedWithTheWayOut() {
        cli().run("ghostty-terminfo", "terminfo", "--term", "zz-nowhere").exits(125)
                .errHas("knows the terminal zz-nowhere", "--as xterm-256color", "TERM=xterm-256color");
        cli().run("ghostty-terminfo", "terminfo", "--term", "zz-nowhere", "--as", "zz-nothing").exits(125)
                .errHas("tic did not take");
        cli().run("ghostty-terminfo", "terminfo", "--term", "zz-nowhere", "--as", "vt220").exits(0)
                .errHas("by the entry as vt220");
        assertEquals("80\n", inGuest("tput", "-T", "zz-nowhere", "cols"));
    }

    @Test
    void whatCannotBeIsRefusedClearly() {
        cli().run("ghostty-terminfo", "nosuch").exits(2).errHas("no sandbox nosuch");
        cli().run("ghostty-terminfo", "terminfo", "--term", "$(id)").exits(2).errHas("cannot be a terminal's name");
        cli().run("ghostty-terminfo", "terminfo", "--all").exits(2).errHas("one of them");
        cli().at(world.home).run("ghostty-terminfo").exits(2).errHas("no sandbox has");
        cli().without("TERM").run("ghostty-terminfo", "terminfo").exits(2).errHas("TERM is not set");
        cli().run("ghostty-terminfo", "--nonsense").exits(2).errHas("Usage:", "ghostty-terminfo --help");
        cli().run("ghostty-terminfo", "--help").exits(0).outHas("Examples:");
        world.stop("terminfo");
        cli().run("ghostty-terminfo", "terminfo").exits(125).errHas("terminfo is stopped", "start terminfo");
        cli().run("ghostty-terminfo", "--all").exits(0).errHas("no sandbox is running");
        world.at(project).run("terminfo", "true").exits(0);
    }
}
