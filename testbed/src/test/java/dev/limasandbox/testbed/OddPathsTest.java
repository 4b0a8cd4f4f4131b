package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Directories whose names break Lima's mounts: all of them are mounted at their own paths all the same. */
class OddPathsTest {
    private static final List<String> NAMES = List.of(
            "a b", "a,b", "it's", "say \"hi\"", "co:lon", "ünï €", "br[ack", "br]ack", "br{ace", "ha #sh", "trail ",
            " lead", "$HOME", "`id`", "semi;colon", "a&b", "{{.Name}}", "back\\slash", "per%cent", "st*r", "#", "-dash",
            "~", "x:w y", "=", "!");

    /** Reads what the host wrote, then writes beside it, in each of the directories. */
    private static final String SCRIPT = "for d; do cat \"$d/host\"; cat \"$d/guest\" 2>/dev/null; echo \"g $d\" > \"$d/guest\"; done";

    @Test
    void oddNamesAreReachedFromBothSidesOnEveryBoot() {
        World world = World.shared();
        Path plain = world.project("plain");
        List<String> words = new ArrayList<>();
        List<String> command = new ArrayList<>(List.of("sh", "-c", SCRIPT, "sh"));
        StringBuilder expected = new StringBuilder();
        StringBuilder second = new StringBuilder();
        List<Path> paths = new ArrayList<>();
        for (String name : NAMES) {
            Path path = world.project(name);
            paths.add(path);
            World.write(path.resolve("host"), "h " + path + "\n");
            words.addAll(List.of("--mount", path + ":w"));
            command.add(path.toString());
            expected.append("h " + path + "\n");
            second.append("h " + path + "\ng " + path + "\n");
        }
        words.addAll(List.of("odd", plain.toString()));
        words.addAll(command);
        try {
            world.cli().run(words.toArray(String[]::new)).exits(0).out(expected.toString());
            for (Path path : paths) {
                assertEquals("g " + path + "\n", World.read(path.resolve("guest")));
            }
            for (JsonNode mount : world.config("odd").path("mounts")) {
                for (String key : List.of("location", "mountPoint")) {
                    assertTrue(mount.path(key).asText().matches("[A-Za-z0-9/._+@-]+"), mount.toString());
                }
            }
            world.stop("odd");
            command.addAll(0, List.of("odd", plain.toString()));
            world.cli().run(command.toArray(String[]::new)).exits(0).out(second.toString());
            // A directory of such a name is found by itself, too.
            world.at(paths.get(0)).run(".", "cat", "host").exits(0).out("h " + paths.get(0) + "\n").silent();
        } finally {
            world.delete("odd");
        }
    }

    @Test
    void suchADirectoryIsTheProjectItself() {
        World world = World.shared();
        Path path = world.project("my, \"odd\" [pröject] {{x}} #1 ");
        World.write(path.resolve("host"), "h");
        try {
            world.at(path).run("oddly", "sh", "-c", "cat host; echo g > guest").exits(0).out("h");
            assertEquals("g\n", World.read(path.resolve("guest")));
            world.stop("oddly");
            world.cli().run("oddly", path.toString(), "cat", "guest").exits(0).out("g\n");
            Path below = World.write(path.resolve("be low/x"), "deep").getParent();
            world.at(below).run(".", "cat", "x").exits(0).out("deep");
        } finally {
            world.delete("oddly");
        }
    }

    @Test
    void suchADirectoryCanBeReadOnly() {
        World world = World.shared();
        Path path = world.project("read, only");
        World.write(path.resolve("host"), "h");
        try {
            world.at(path).run("--read-only", "oddro", "sh", "-c", "cat host; echo x > host; exit 0").exits(0).out("h");
            assertEquals("h", World.read(path.resolve("host")));
        } finally {
            world.delete("oddro");
        }
    }

    @Test
    void aLineBreakInAPathIsRefusedWithWords() {
        World world = World.shared();
        Path path = world.project("line\nbreak");
        Cli.Result result = world.at(path).run("broken", "true");
        world.delete("broken");
        assertTrue(result.exit() == 0 || result.exit() == 2 || result.exit() == 125, result.toString());
        result.errLacks("Exception", "\tat ");
    }
}
