package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What {@code sandboxes list} shows, and what a shell completes. */
class SandboxesListTest {
    private static World world;
    private static Path project;

    @BeforeAll
    static void oneSandboxAndOneForeign() {
        world = World.shared();
        project = world.project("listed");
        world.at(project).run("listed", "true").exits(0);
        world.limactl("clone", world.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow(),
                "alien", "--tty=false", "--set", ".param.sandbox = \"\"");
        snapshot("listed", "clean", "2026-11-01T10:00:00Z");
    }

    @AfterAll
    static void away() {
        world.delete("listed", "alien");
        World.remove(world.lima.resolve("_sandbox/snapshots"));
    }

    private static void snapshot(String name, String tag, String created) {
        World.write(world.lima.resolve("_sandbox/snapshots").resolve(name).resolve(tag).resolve("meta.json"),
                "{\"tag\":\"" + tag + "\",\"method\":\"internal\",\"created\":\"" + created + "\"}");
    }

    private static JsonNode json(String text) {
        try {
            return new ObjectMapper().readTree(text);
        } catch (IOException e) {
            throw new AssertionError(text, e);
        }
    }

    @Test
    void tellsOfEachInOneLine() {
        Cli.Running session = world.at(project).start("listed", "sh", "-c", "echo in; exec sleep 300");
        session.awaitOut("in");
        try {
            Cli.Result list = world.cli().run("list").exits(0).silent();
            list.outHas("listed Running 1    256M ", " 1    ", "sh 0m", "/listed:w").outLacks("alien", "base-");
            assertEquals(2, list.out().lines().count());
            assertTrue(list.out().lines().allMatch(l -> l.length() <= 80), list::toString);
            JsonNode one = json(world.at(project).run("list", ".", "--json").exits(0).out()).get(0);
            assertEquals("sh", one.at("/sessions/0/command").asText());
            assertEquals("clean", one.at("/snapshots/0/tag").asText());
            assertEquals(project.toString(), one.at("/mounts/0/path").asText());
            assertTrue(one.at("/mounts/0/writable").asBoolean());
            assertEquals(world.lima.resolve("listed").toString(), one.path("directory").asText().replaceAll("/$", ""));
            assertTrue(Files.exists(Path.of(one.path("sshConfig").asText())), one::toString);
            assertTrue(Files.exists(Path.of(one.path("dockerSocket").asText())), one::toString);
            assertTrue(one.path("sshPort").asInt() > 0 && one.path("diskUsed").asLong() > 0, one::toString);
            assertEquals(268435456, one.path("memory").asLong());
        } finally {
            session.signal("TERM").ends(Duration.ofSeconds(30));
        }
        world.cli().run("list", "listed").exits(0).outHas("listed").outLacks("sh 0m");
    }

    @Test
    void choosesWhatIsAskedFor() {
        world.cli().run("list", "-q").exits(0).out("listed\n").silent();
        world.cli().run("list", "--foreign", "-q").exits(0).out("alien\nlisted\n");
        world.cli().run("list", "--foreign").exits(0).outHas("foreign");
        world.cli().run("list", "--bases").exits(0).outHas("base-", " listed").outLacks("256M");
        world.cli().run("list", "nosuch").exits(2).out("").errHas("no sandbox nosuch", "listed");
        world.at(world.home).run("list", ".").exits(2).errHas("no sandbox has");
        world.cli().run("list", "--watch").exits(2).errHas("terminal");
        world.cli().run("list", "--no-such").exits(2).errHas("--no-such", "Usage:", "--help");
        world.cli().run("list", "--help").exits(0).outHas("Examples:", "--json");
        World fresh = World.fresh();
        fresh.cli().run("list").exits(0).out("").errHas("no sandbox yet");
        fresh.cli().run("list", "--json").exits(0).out("[ ]\n");
        fresh.close();
    }

    @Test
    void watchesUntilAKeyIsPressed() {
        try (Terminal terminal = world.cli().terminal("list", "--watch")) {
            terminal.await("Any key ends this").await("listed").await("CPU");
            World.await(20, "a second drawing, with the use of the processor",
                    () -> terminal.raw().split("Any key", -1).length > 2);
            terminal.type("x").exits(0);
        }
    }

    @Test
    void aHundredAreListed() throws IOException {
        World many = World.fresh();
        String yaml = World.read(world.lima.resolve("listed/lima.yaml"));
        for (int i = 0; i < 100; i++) {
            World.write(many.lima.resolve("box-" + i).resolve("lima.yaml"), yaml);
            Files.copy(world.lima.resolve("listed/lima-version"),
                    many.lima.resolve("box-" + i).resolve("lima-version"));
        }
        assertEquals(101, many.cli().run("list").exits(0).out().lines().count());
        many.close();
    }

    @Test
    void shellsCompleteNamesAndTags() {
        String bash = world.cli().run("sandboxes", "--completion", "bash").exits(0).out();
        Path file = World.write(world.root.resolve("completion.bash"), bash);
        assertEquals("--foreign --force", complete(file, "sandboxes list --fo") + " "
                + complete(file, "sandboxes stop --fo"));
        assertEquals("listed", complete(file, "sandboxes stop lis"));
        assertEquals("list listed", complete(file, "sandbox lis"));
        assertEquals("claude", complete(file, "sandbox listed cl"));
        assertEquals("clean", complete(file, "snapshot apply listed c"));
        assertEquals("clean", complete(file, "./sandbox snapshot apply listed c"));
        assertEquals("apply", complete(file, "./sandbox snapshot ap"));
        assertEquals("--discard", complete(file, "snapshot try listed --di"));
        assertEquals("create listed --all", complete(file, "sandbox docker-context cr") + " "
                + complete(file, "docker-context env lis") + " " + complete(file, "docker-context remove --a"));
        assertEquals("docker-context --jdk",
                complete(file, "sandbox docker") + " " + complete(file, "jvm listed --jd"));
        assertEquals("--publish", complete(file, "sandbox --pub"));
        world.cli().run("sandboxes", "--completion", "tcsh").exits(2).errHas("bash, zsh or fish");
    }

    @Test
    void fishCompletesThemToo() {
        Path file = World.write(world.root.resolve("completion.fish"),
                world.cli().run("sandboxes", "--completion", "fish").exits(0).out());
        Map<String, String> wanted = new TreeMap<>(Map.of("sandboxes stop lis", "listed", "sandbox lis", "list listed",
                "sandbox rena", "rename", "sandbox listed cl", "claude", "sandboxes stop --when", "--when-idle",
                "snapshot apply listed cl", "clean", "sandbox snapshot apply listed cl", "clean",
                "sandbox snapshot ap", "apply"));
        wanted.putAll(Map.of("sandbox docker-context cr", "create", "docker-context env lis", "listed",
                "jvm listed --jd", "--jdk", "sandbox --pub", "--publish", "sandbox docker-c", "docker-context"));
        Map<String, String> seen = new TreeMap<>();
        wanted.keySet().forEach(line -> seen.put(line, world.run(world.home, "fish", "--no-config", "-c",
                "source " + file + "; complete -C '" + line + "'").strip().replaceAll("\\s+", " ")));
        assertEquals(wanted, seen);
    }

    /** zsh completes only where it is typed. */
    @Test
    void zshCompletesThemToo() {
        Path file = World.write(world.root.resolve("completion.zsh"),
                world.cli().run("sandboxes", "--completion", "zsh").exits(0).out());
        try (Terminal zsh = new Terminal(world.root, world.home, world.environment(), List.of("zsh", "-f", "-i"))) {
            zsh.type("source " + file + "; echo ready$((1+1))").press("Enter").await("ready2");
            for (String line : List.of("sandboxes stop lis|ted", "sandbox rena|me", "sandbox listed cla|ude",
                    "sandboxes stop --when|-idle", "snapshot apply listed cl|ean", "sandbox snapshot ap|ply")) {
                zsh.type(": ; " + line.replaceFirst("\\|.*", "")).press("Tab").await(line.replace("|", ""))
                        .press("C-u");
            }
        }
    }

    private static String complete(Path file, String line) {
        return world.run(world.home, "bash", "--norc", "-c",
                ". " + file + "; COMP_WORDS=(" + line + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1));"
                        + " _sandboxes; echo \"${COMPREPLY[*]}\"")
                .strip();
    }
}
