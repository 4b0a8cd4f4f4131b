package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** The host's keys: in the session that is to have them, and nowhere else. */
class KeysTest {
    private static final String SECRET = "sk-never-" + "written-down-7391";
    private static final String PRINT = "echo \"<$ANTHROPIC_API_KEY><$OPENAI_API_KEY><$GEMINI_API_KEY><$GOOGLE_API_KEY>"
            + "<$GITHUB_TOKEN><$MY_OWN>\"";
    private static World world;
    private static Path project;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("keys");
        // Whatever this call starts has the chance to keep a key.
        withKeys().run("keys", "true").exits(0);
        String agent = "mkdir -p ~/.local/bin; for a in claude codex gemini opencode; do printf '#!/bin/sh\\n%s\\n' '"
                + PRINT
                + "' > ~/.local/bin/$a; chmod +x ~/.local/bin/$a; done";
        world.at(project).run("keys", "sh", "-c", agent).exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("keys");
    }

    private static Cli withKeys() {
        return world.at(project)
                .env("ANTHROPIC_API_KEY", SECRET + "-a")
                .env("OPENAI_API_KEY", SECRET + "-o")
                .env("GEMINI_API_KEY", SECRET + "-ge")
                .env("GOOGLE_API_KEY", SECRET + "-go")
                .env("GITHUB_TOKEN", SECRET + "-gi")
                .env("MY_OWN", SECRET + " m'y\"o$wn");
    }

    private static String expected(String... suffixes) {
        StringBuilder line = new StringBuilder();
        for (String suffix : suffixes) {
            line.append(suffix.isEmpty() ? "<>" : "<" + SECRET + suffix + ">");
        }
        return line + "\n";
    }

    @Test
    void aCommandGetsTheFourKeysAndNothingUnasked() {
        withKeys().run("keys", "sh", "-c", PRINT)
                .exits(0)
                .out(expected("-a", "-o", "-ge", "-go", "", ""))
                .errHas("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
                .errLacks(SECRET, "GITHUB_TOKEN");
    }

    @Test
    void aShellGetsThemToo() {
        withKeys().input(PRINT + "\n").run("keys").exits(0).out(expected("-a", "-o", "-ge", "-go", "", ""));
    }

    @Test
    void othersComeOnlyByName() {
        withKeys().run("--env", "GITHUB_TOKEN", "keys", "--env=MY_OWN", "sh", "-c", PRINT)
                .exits(0)
                .out(expected("-a", "-o", "-ge", "-go", "-gi", " m'y\"o$wn"))
                .errHas("GITHUB_TOKEN", "MY_OWN")
                .errLacks(SECRET);
    }

    @Test
    void anAgentGetsOnlyTheKeysThatItUses() {
        withKeys().run("keys", "claude").exits(0).out(expected("-a", "", "", "", "", "")).errLacks("OPENAI", "GOOGLE");
        withKeys().run("keys", "codex").exits(0).out(expected("", "-o", "", "", "", "")).errLacks("ANTHROPIC");
        withKeys().run("keys", "gemini").exits(0).out(expected("", "", "-ge", "-go", "", ""));
        withKeys().run("--env", "MY_OWN", "keys", "claude").exits(0).out(expected("-a", "", "", "", "", " m'y\"o$wn"));
    }

    @Test
    void noKeysForwardsNone() {
        withKeys().run("--no-keys", "keys", "sh", "-c", PRINT).exits(0).out("<><><><><><>\n").silent();
    }

    /** Seen on a real VM: `start` said that it forwards a key, to the command that only proves that it is up. */
    @Test
    void aStartForwardsNone() {
        withKeys().run("stop", "keys").exits(0);
        withKeys().run("start", "keys").exits(0).errHas("keys is running").errLacks("forwarding");
    }

    @Test
    void eachCallHasItsOwnValues() {
        world.at(project).env("OPENAI_API_KEY", "first").run("keys", "sh", "-c", PRINT).exits(0)
                .out("<><first><><><><>\n");
        world.at(project).env("OPENAI_API_KEY", "second").run("keys", "sh", "-c", PRINT).exits(0)
                .out("<><second><><><><>\n");
        world.at(project).run("keys", "sh", "-c", PRINT).exits(0).out("<><><><><><>\n").silent();
    }

    @Test
    void anEmptyOneIsNotForwarded() {
        world.at(project).env("OPENAI_API_KEY", "").run("keys", "sh", "-c", "echo ${OPENAI_API_KEY-unset}")
                .exits(0)
                .out("unset\n")
                .silent();
    }

    @Test
    void aValueOnTheCommandLineIsRefused() {
        world.at(project)
                .run("--env", "MY_OWN=hunter2", "keys", "true")
                .exits(2)
                .errHas("--env MY_OWN")
                .errLacks("hunter2");
    }

    @Test
    void oneThatIsNotSetIsNamed() {
        world.at(project).run("--env", "NOT_SET_HERE", "keys", "true").exits(0).errHas("NOT_SET_HERE");
    }

    @Test
    void aKeyInTheGuestsProfileCounts() {
        world.at(project).run("keys", "sh", "-c", "cp ~/.profile ~/.saved; echo export MY_OWN=guests >> ~/.profile")
                .exits(0);
        world.at(project).run("keys", "sh", "-c", PRINT).exits(0).out("<><><><><><guests>\n");
        world.at(project).run("keys", "sh", "-c", "mv ~/.saved ~/.profile").exits(0);
    }

    @Test
    void besideAKeptLoginItIsSaidWhichIsBilled() {
        world.at(project).run("keys", "sh", "-c",
                "mkdir -p ~/.claude ~/.codex; echo {} > ~/.claude/.credentials.json; echo {} > ~/.codex/auth.json")
                .exits(0);
        withKeys().run("keys", "claude").exits(0).errHas("login", "bill", "ANTHROPIC_API_KEY");
        withKeys().run("keys", "codex").exits(0).errHas("login", "bill", "OPENAI_API_KEY");
        withKeys().run("--no-keys", "keys", "claude").exits(0).errLacks("bill");
        world.at(project).run("keys", "sh", "-c", "rm ~/.claude/.credentials.json ~/.codex/auth.json").exits(0);
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void theyAreOnNoCommandLineAndInNoOthersEnvironment() {
        Cli.Running running = withKeys().start("--env", "MY_OWN", "keys", "sh", "-c", "echo ready; sleep 30");
        running.awaitOut("ready");
        List<String> withKey = new ArrayList<>();
        try (Stream<ProcessHandle> all = ProcessHandle.allProcesses()) {
            for (ProcessHandle process : all.toList()) {
                String line = proc(process, "cmdline");
                assertFalse(line.contains(SECRET), line);
                if (proc(process, "environ").contains(SECRET)) {
                    withKey.add(line.replace('\0', ' ').strip());
                }
            }
        }
        running.signal("KILL");
        assertTrue(withKey.stream().anyMatch(l -> l.contains("sleep 30")), () -> "the command has it: " + withKey);
        for (String line : withKey) {
            assertFalse(line.contains("limactl") && !line.contains("Sandbox"), line);
            assertFalse(line.contains("StandIn") || line.contains("hostagent") || line.contains("bwrap"), line);
            assertFalse(line.contains("-MNf") || line.contains("sshd -D") || line.contains("qemu"), line);
        }
    }

    private static String proc(ProcessHandle process, String file) {
        try {
            return Files.readString(Path.of("/proc", "" + process.pid(), file), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return ""; // gone, or another user's
        }
    }

    @Test
    void theyAreInNoFile() throws IOException {
        withKeys().run("--env", "MY_OWN", "keys", "claude").exits(0);
        try (Stream<Path> all = Files.walk(world.root)) {
            for (Path file : all.filter(f -> Files.isRegularFile(f, LinkOption.NOFOLLOW_LINKS) && Files.isReadable(f))
                    .toList()) {
                if (Files.size(file) < 20_000_000) {
                    String text = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
                    assertFalse(text.contains(SECRET), file::toString);
                }
            }
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    @Test
    void anAgentsNameIsEnoughOnlyInTheCommandsPlace() {
        assertEquals(
                expected("-a", "-o", "-ge", "-go", "", ""),
                withKeys().run("keys", "sh", "-c", PRINT, "claude").exits(0).out());
    }
}
