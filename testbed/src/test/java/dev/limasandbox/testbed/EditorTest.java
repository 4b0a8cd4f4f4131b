package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** editor: what it writes into the user's files, and what it starts; the editors are pretended, ssh is real. */
class EditorTest {
    private static final String SETTINGS = """
            // Zed settings, "ssh_connections": none
            {
              "theme": "One Dark", /* dark */
              "tab_size": 2,
              "languages": { "Java": { "tab_size": 4, }, },

              // the end
            }
            """;

    private static World world;
    private static Path project;
    private static Path config;
    private static Path zed;
    private static Path programs;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("a b ü%20 [x] 'q' \"d\" #?");
        world.at(project).limit(java.time.Duration.ofMinutes(3)).run("edit-1", "true").exits(0);
        network(0);
        config = world.home.resolve(".ssh/config");
        zed = world.home.resolve(".config/zed/settings.json");
        programs = world.root.resolve("editors");
        for (String program : List.of("zed", "code", "idea")) {
            World.executable(programs.resolve(program),
                    "#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done >\"$0.argv\"\n");
        }
    }

    @AfterAll
    static void delete() {
        world.delete("edit-1");
    }

    @BeforeEach
    @AfterEach
    void nothingWritten() {
        for (String directory : List.of(".ssh", ".config/zed", "dotfiles")) {
            if (Files.exists(world.home.resolve(directory), LinkOption.NOFOLLOW_LINKS)) {
                World.remove(world.home.resolve(directory));
            }
        }
        try (Stream<Path> left = Files.list(programs)) {
            left.filter(p -> p.toString().endsWith(".argv")).forEach(p -> p.toFile().delete());
            Files.deleteIfExists(world.lima.resolve("_sandbox/ssh_config"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Cli.Result run(String... words) {
        String[] all = Stream.concat(Stream.of("editor"), Arrays.stream(words)).toArray(String[]::new);
        return world.at(project).env("PATH", programs + ":" + world.environment().get("PATH")).run(all);
    }

    private static String argv(String program) {
        return World.read(programs.resolve(program + ".argv"));
    }

    /** The path of a directory in a URL, by another encoder. */
    private static String url(Path path) {
        return java.net.URLEncoder.encode(path.toString(), java.nio.charset.StandardCharsets.UTF_8)
                .replace("+", "%20").replace("%2F", "/").replace("*", "%2A");
    }

    private static String ssh(String... words) {
        String[] all = Stream.concat(Stream.of("ssh", "-F", config.toString()), Arrays.stream(words))
                .toArray(String[]::new);
        return world.run(project, all);
    }

    private static JsonNode connection(String host) {
        String json = Pattern.compile("(\"(?:[^\"\\\\]|\\\\.)*\")|//[^\\n]*|/\\*.*?\\*/|,(?=(?:\\s|//[^\\n]*)*[}\\]])")
                .matcher(World.read(zed))
                .replaceAll(m -> m.group(1) == null ? "" : Matcher.quoteReplacement(m.group(1)));
        for (JsonNode each : Target.json(json).path("ssh_connections")) {
            if (each.path("host").asText().equals(host)) {
                return each;
            }
        }
        return com.fasterxml.jackson.databind.node.MissingNode.getInstance();
    }

    @Test
    void sshKnowsTheSandboxByOneLineAtTheTop() throws IOException {
        String before = "# mine\nHost *\n  User nobody\n  Port 9\n  ServerAliveInterval 7";
        World.write(config, before);
        Files.setPosixFilePermissions(config, PosixFilePermissions.fromString("rw-r--r--"));

        run("ssh", "edit-1", "--print").exits(0).outHas("+ Include \"" + world.lima + "/edit-1/ssh.config\"");
        assertEquals(before, World.read(config));
        run("ssh", "edit-1").exits(0).out("").errHas("ssh lima-edit-1 works");
        String include = "Include \"" + world.lima + "/_sandbox/ssh_config\"\n";
        assertEquals(include + before, World.read(config));
        assertEquals("Include \"" + world.lima + "/edit-1/ssh.config\"\n",
                World.read(world.lima.resolve("_sandbox/ssh_config")));
        assertEquals("rw-r--r--", PosixFilePermissions.toString(Files.getPosixFilePermissions(config)));
        assertEquals(before, World.read(world.home.resolve(".ssh/config.before-sandbox")));

        String port = World.read(world.lima.resolve("edit-1/ssh.config")).replaceAll("(?s).*\\bPort (\\d+).*", "$1");
        String resolved = ssh("-G", "lima-edit-1");
        assertTrue(resolved.contains("\nport " + port + "\n"), resolved);
        assertTrue(resolved.contains("\nserveraliveinterval 7\n"), resolved);
        assertTrue(ssh("-G", "elsewhere").contains("\nport 9\n"));
        assertEquals("lima-edit-1", ssh("lima-edit-1", "hostname").strip());

        run("ssh", ".").exits(0);
        assertEquals(include + before, World.read(config), "twice is once");
        World.write(config, before + "\n" + include);
        run("ssh", "edit-1").exits(125).errHas("nobody@127.0.0.1:9", "put that line first");
        World.write(config, include + before);
        run("ssh", "edit-1", "--remove").exits(0);
        assertEquals(before, World.read(config));
        run("ssh", "edit-1", "--remove").exits(0).errHas("there is no lima-edit-1");
    }

    @Test
    void sshReadsWhateverTheDirectoriesAreCalled() {
        Path odd = World.link(world.home.resolve("dotfiles/a %h ü \"q\" [z] $x '1' *"), world.lima);
        Path target = World.write(world.home.resolve("dotfiles/ssh config"), "# in a repository\n");
        World.link(config, target);
        world.at(project).env("LIMA_HOME", odd.toString()).run("editor", "ssh", "edit-1").exits(0)
                .errHas("ssh lima-edit-1 works");
        assertEquals("lima-edit-1", ssh("lima-edit-1", "hostname").strip());
        assertTrue(Files.isSymbolicLink(config), "a link stays a link");
        assertTrue(World.read(target).endsWith("\n# in a repository\n"));
        world.at(project).env("LIMA_HOME", odd.toString()).run("editor", "ssh", "edit-1", "--remove").exits(0);
        assertEquals("# in a repository\n", World.read(target));
    }

    @Test
    void editorsGetTheRightAddress() {
        run("vscode", "edit-1").exits(0).errHas("VS Code opens " + project);
        assertEquals("<--folder-uri><vscode-remote://ssh-remote+lima-edit-1" + url(project) + ">", argv("code"));
        assertEquals("lima-edit-1", ssh("lima-edit-1", "hostname").strip());

        Path below = World.directory(project.resolve("sub dir"));
        run("idea", "edit-1", "sub dir").exits(0);
        String port = World.read(world.lima.resolve("edit-1/ssh.config")).replaceAll("(?s).*\\bPort (\\d+).*", "$1");
        assertTrue(argv("idea").matches("<jetbrains-gateway://connect#type=ssh&host=lima-edit-1&port=" + port
                + "&user=[^&]+&projectPath=\\Q" + url(below).replace("/", "%2F") + "\\E>"), () -> argv("idea"));

        run("zed", "edit-1", "/usr/share", "--via", "ssh").exits(0);
        assertEquals("<ssh://lima-edit-1/usr/share>", argv("zed"));
        assertFalse(Files.exists(zed));
        run("zed", "edit-1", "--via", "port").exits(125).errHas("ssh-add " + world.lima + "/_config/user");
        run("zed", "edit-1", "/no/such").exits(125).errHas("does not see /no/such", "edit edit-1 --mount");

        run("vscode", "edit-1", "--remove").exits(0);
        assertFalse(Files.exists(config), "there was none before");
    }

    @Test
    void anAddressAloneWorksWithAnAgentThatHasTheKey() {
        String out = world.run(project, "ssh-agent", "sh", "-c", "ssh-add -q " + world.lima + "/_config/user; PATH="
                + programs + ":$PATH " + World.CHECKOUT + "/sandbox editor zed edit-1 --via port 2>&1");
        assertTrue(out.contains("Zed opens"), out);
        assertTrue(argv("zed").matches("<ssh://[^@]+@127\\.0\\.0\\.1:\\d+\\Q" + url(project) + "\\E>"), argv("zed"));
        assertFalse(Files.exists(zed) || Files.exists(config));
    }

    @Test
    void zedsSettingsKeepEveryOtherByte() throws IOException {
        Path target = World.write(world.home.resolve("dotfiles/zed.json"), SETTINGS);
        Files.setPosixFilePermissions(target, PosixFilePermissions.fromString("rw-rw-r--"));
        World.link(zed, target);

        run("zed", ".", "--forward", "3000", "--forward", "8080:80").exits(0).errHas("Zed opens " + project);
        assertEquals("<ssh://lima-edit-1" + url(project) + ">", argv("zed"));
        JsonNode entry = connection("lima-edit-1");
        assertEquals("edit-1 sandbox", entry.path("nickname").asText());
        assertEquals("[\"-F\",\"" + world.lima + "/edit-1/ssh.config\"]", entry.path("args").toString());
        assertEquals(project.toString(), entry.at("/projects/0/paths/0").asText());
        assertEquals("[{\"local_port\":3000,\"remote_port\":3000},{\"local_port\":8080,\"remote_port\":80}]",
                entry.path("port_forwards").toString());
        assertTrue(Files.isSymbolicLink(zed));
        assertEquals("rw-rw-r--", PosixFilePermissions.toString(Files.getPosixFilePermissions(target)));
        String after = World.read(zed);
        int at = after.indexOf(",\n  \"ssh_connections\"") + 1;
        assertTrue(after.startsWith(SETTINGS.substring(0, at)), after);
        assertTrue(after.endsWith("\n\n  // the end\n}\n"), after);

        run("zed", "edit-1").exits(0).errLacks("Zed's settings have");
        assertEquals(after, World.read(zed), "twice is once");
        run("zed", "edit-1", "/usr").exits(0).errHas("Zed's settings have");
        assertEquals("/usr", connection("lima-edit-1").at("/projects/1/paths/0").asText());
        run("zed", "edit-1", "--remove").exits(0);
        assertEquals(SETTINGS, World.read(zed));
    }

    @Test
    void zedUploadsItsServerWhereTheNetworkIsClosed() {
        network(0);
        run("zed", "edit-1").exits(0).errLacks("zed.dev");
        assertTrue(connection("lima-edit-1").path("upload_binary_over_ssh").isMissingNode());
        network(6);
        run("zed", "edit-1").exits(0).errHas("does not reach zed.dev");
        assertTrue(connection("lima-edit-1").path("upload_binary_over_ssh").asBoolean());
    }

    /** Puts a curl before the guest's own that ends with an exit code. */
    private static void network(int exit) {
        world.at(project).run("edit-1", "sh", "-c", "printf '#!/bin/sh\nexit " + exit
                + "\n' >c; chmod 755 c; sudo mv c /usr/local/bin/curl").exits(0);
    }

    @Test
    void whateverListIsThereIsAddedToAndLeftAgain() {
        String other = "{ \"host\": \"other\", \"args\": [] }";
        for (String list : List.of("[]", "[ ]", "[\n  ]", "[" + other + "]", "[" + other + ", ]", "[ // none\n  ]",
                "[\n    " + other + " // mine\n  ]", "[\n    " + other + ", // mine\n    // and\n  ]",
                "[\n\t" + other + ",\n\t" + other + "\r\n  ]")) {
            String before = "{ // ü\n  \"ssh_connections\": " + list + ",\n  \"x\": \"}]\\\"//\" }";
            World.write(zed, before);
            run("zed", "edit-1").exits(0);
            assertEquals(project.toString(), connection("lima-edit-1").at("/projects/0/paths/0").asText(),
                    () -> World.read(zed));
            run("zed", "edit-1", "--remove").exits(0);
            assertEquals(before, World.read(zed));
        }
        World.write(zed, "{}");
        run("zed", "edit-1").exits(0);
        run("zed", "edit-1", "--remove").exits(0);
        assertEquals("{}", World.read(zed));
    }

    @Test
    void settingsThatCannotBeReadStayAndTheEntryIsShown() throws IOException {
        for (String broken : List.of("{\n  \"a\": 1\n  \"b\": 2\n}\n", "[]", "{ \"ssh_connections\": {} }", "{} {}",
                "// only this\n", "{ \"a\": \"")) {
            World.write(zed, broken);
            run("zed", "edit-1").exits(125).errHas(zed + " stays as it is", "By hand")
                    .outHas("\"host\": \"lima-edit-1\"");
            assertEquals(broken, World.read(zed));
        }
        assertFalse(Files.exists(programs.resolve("zed.argv")), "nothing is opened then");
        World.write(zed, SETTINGS);
        Files.setPosixFilePermissions(zed.getParent(), PosixFilePermissions.fromString("r-xr-xr-x"));
        run("zed", "edit-1").exits(125).errHas("stays as it is", "AccessDenied")
                .outHas("\"host\": \"lima-edit-1\"");
        Files.setPosixFilePermissions(zed.getParent(), PosixFilePermissions.fromString("rwxr-xr-x"));
        run("zed", "edit-1", "--print").exits(0).outHas("+   \"ssh_connections\": [", "# to be started\n",
                "ssh://lima-edit-1/");
        assertEquals(SETTINGS, World.read(zed));
        String large = SETTINGS + "// much\n".repeat(20_000);
        World.write(zed, large);
        String full = world.run(project, "sh", "-c", "ulimit -f 100; PATH=" + programs + ":$PATH " + World.CHECKOUT
                + "/sandbox editor zed edit-1 2>&1; echo $?");
        assertTrue(full.contains("stays as it is: IO: File too large") && full.strip().endsWith("125"), full);
        assertEquals(large, World.read(zed));
        try (Stream<Path> files = Files.list(zed.getParent())) {
            assertEquals(List.of(zed), files.toList());
        }
    }

    @Test
    void whatCannotBeIsRefusedClearly() {
        Cli.Result missing = world.at(project).run("editor", "vscode", "edit-1").exits(125)
                .errHas("VS Code was not found on the PATH. To install it: ");
        assertEquals("vscode-remote://ssh-remote+lima-edit-1" + url(project) + "\n", missing.out());
        assertFalse(Files.exists(config), "nothing is written for an editor that is not there");
        World.executable(programs.resolve("zeditor"), "#!/bin/sh\necho 'no display' >&2\nexit 3\n");
        Path other = World.directory(world.root.resolve("other"));
        World.link(other.resolve("zeditor"), programs.resolve("zeditor"));
        world.at(project).env("PATH", other + ":" + world.environment().get("PATH")).run("editor", "zed", "edit-1")
                .exits(125).errHas("exit code 3", "no display");
        run("emacs", "edit-1").exits(2).errHas("emacs", "Usage:", "--help");
        run("zed", "nosuch").exits(2).errHas("there is no sandbox nosuch");
        run("ssh", "edit-1", "/tmp").exits(2).errHas("/tmp");
        run("zed", "edit-1", "--via", "ssh", "--forward", "1").exits(2).errHas("ports NAME --add PORT");
        run("zed", "edit-1", "--via", "air").exits(2).errHas("settings, ssh or port");
        run("zed", "edit-1", "--forward", "x").exits(2).errHas("GUEST or HOST:GUEST");
        run("zed", "../x\"y", "--remove").exits(2);
        run("--help").exits(0).outHas("Examples:", "editor ssh myapp");
        run("zed", "--help").exits(0).outHas("Examples:", "--forward");
    }

    @Test
    void renameTakesTheEntriesAlongAndDeleteRemovesThem() {
        Path other = world.project("other");
        world.at(other).run("Ren", "true").exits(0);
        World.write(config, "Host x\n");
        World.write(zed, SETTINGS);
        Cli cli = world.at(other).env("PATH", programs + ":" + world.environment().get("PATH"));
        cli.run("editor", "vscode", "Ren").exits(0);
        String hex = java.util.HexFormat.of().formatHex("{\"hostName\":\"lima-Ren\"}".getBytes(
                java.nio.charset.StandardCharsets.UTF_8));
        assertEquals("<--folder-uri><vscode-remote://ssh-remote+" + hex + url(other) + ">", argv("code"));
        cli.run("editor", "zed", "Ren").exits(0);

        cli.run("rename", "Ren", "new").exits(0).errLacks("left to do");
        assertEquals("Include \"" + world.lima + "/new/ssh.config\"\n",
                World.read(world.lima.resolve("_sandbox/ssh_config")));
        assertEquals("lima-new", ssh("lima-new", "hostname").strip());
        JsonNode entry = connection("lima-new");
        assertEquals("new sandbox", entry.path("nickname").asText());
        assertEquals(world.lima + "/new/ssh.config", entry.at("/args/1").asText());
        assertTrue(connection("lima-Ren").isMissingNode());

        world.stop("new");
        cli.run("editor", "zed", "new").exits(125).errHas("new is stopped. To start it: ", "start new");
        cli.run("editor", "zed", "new", "--print").exits(0).outHas(zed + " stays as it is", "ssh://lima-new/");

        cli.run("delete", "--yes", "--force", "new").exits(0).errLacks("left to do");
        assertEquals("Host x\n", World.read(config));
        assertEquals(SETTINGS, World.read(zed));
    }
}
