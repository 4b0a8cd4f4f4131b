package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.limasandbox.testbed.Target.Result;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What the project relies on in limactl, its odd answers above all, without booting anything: the same cases on the
 * stand-in and, where one is on the PATH, on a real Lima. ContractBootTest has those that need a guest.
 */
@ParameterizedClass
@MethodSource("targets")
class ContractTest {
    @Parameter
    Supplier<Target> made;

    Target lima;

    static Stream<Named<Supplier<Target>>> targets() {
        Named<Supplier<Target>> standIn = Named.of("stand-in", Target::standIn);
        return Target.realProgram() == null
                ? Stream.of(standIn)
                : Stream.of(standIn, Named.of("real Lima", Target::real));
    }

    @BeforeEach
    void open() {
        lima = made.get();
    }

    @AfterEach
    void close() {
        lima.close();
    }

    // --- list ---

    @Test
    @DisplayName("list without instances: nothing on stdout, exit 0")
    void listNothing() {
        assertEquals("", lima.limactl("list", "--format", "{{json .}}").exits(0).out());
    }

    @Test
    @DisplayName("list of an unknown name: the others are printed all the same, exit 1")
    void listUnknown() {
        lima.create("a", "");

        Result list = lima.limactl("list", "--format", "{{.Name}}", "nosuch", "a").exits(1);

        assertEquals("a\n", list.out());
    }

    @Test
    @DisplayName("list as JSON: one line for each instance, gaps filled, templates in scripts and sockets expanded")
    void listJson() {
        lima.create("a", """
                provision: [{script: "echo {{.Name}} {{.Param.who}} {{.Home}}"}, {mode: data, path: /x, content: x}]
                param: {who: me}
                probes: [{script: "#!/bin/sh"}]
                portForwards: [{guestSocket: "/run/{{.UID}}", hostSocket: "{{.Dir}}/sock/d"}, {guestPort: 80}]
                mounts: [{location: /tmp/t}]
                message: |
                  for {{.Name}}
                """);
        lima.create("b", "");

        Result list = lima.limactl("list", "--format", "{{json .}}").exits(0);

        assertEquals(2, list.out().lines().count());
        JsonNode a = lima.instance("a");
        JsonNode config = a.get("config");
        String guestHome = config.at("/user/home").asText();
        assertEquals("Stopped", a.get("status").asText());
        assertEquals(lima.home.resolve("a").toString(), a.get("dir").asText());
        assertEquals(1L << 30, a.get("memory").asLong());
        assertEquals("for a", a.get("message").asText());
        assertFalse(a.has("sshLocalPort"), "no port before the first start");
        assertEquals("echo a me " + guestHome, config.at("/provision/0/script").asText());
        assertEquals("root:root", config.at("/provision/1/owner").asText());
        assertEquals("user probe 1/1", config.at("/probes/0/description").asText());
        assertEquals(
                "/run/" + Home.uid(), config.at("/portForwards/0/guestSocket").asText());
        assertEquals(
                lima.home.resolve("a/sock/d").toString(),
                config.at("/portForwards/0/hostSocket").asText());
        assertEquals("[80,80]", config.at("/portForwards/1/hostPortRange").toString());
        assertEquals("/tmp/t", config.at("/mounts/0/mountPoint").asText());
        assertFalse(config.at("/mounts/0/writable").asBoolean(true));
        assertEquals("me", a.at("/param/who").asText());
    }

    @Test
    @DisplayName("list: a line of more than 64 KiB breaks --json, but not --format '{{json .}}'")
    void listLongLines() {
        lima.create("a", "provision: [{script: \"" + "#".repeat(70_000) + "\"}]\n");

        lima.limactl("list", "--json").exits(1);
        lima.limactl("list", "--format", "{{json .}}").exits(0);
    }

    @Test
    @DisplayName("list: names that begin with _ are nobody's instances, and no identifiers")
    void underscore() throws IOException {
        lima.create("a", "");
        Files.createDirectories(lima.home.resolve("_mine"));

        assertEquals("a\n", lima.limactl("list", "-q").exits(0).out());
        lima.limactl("list", "-q", "_mine").exits(1);
        lima.limactl("delete", "-f", "_mine").exits(1);
        lima.limactl("clone", "--tty=false", "a", "_mine2").exits(1);
    }

    // --- create ---

    @Test
    @DisplayName("create: lima.yaml keeps the template's words, comments included; nothing on stdout")
    void createKeepsText() {
        Result create = lima.create("a", "").exits(0);

        assertEquals("", create.out());
        assertEquals(Target.read(lima.work.resolve("template.yaml")), Target.read(lima.lima("a", "lima.yaml")));
    }

    @Test
    @DisplayName("create --cpus --memory --disk: GiB, fractions too; --set sees them last")
    void createResources() {
        lima.create("a", "", "--cpus", "2", "--memory", "1.5", "--disk", "3", "--set", ".cpus = 3")
                .exits(0);

        String yaml = Target.read(lima.lima("a", "lima.yaml"));
        assertTrue(yaml.contains("memory: 1.5GiB"), yaml);
        assertTrue(yaml.contains("disk: 3GiB"), yaml);
        assertTrue(yaml.startsWith("# written by hand\n"), yaml);
        assertEquals(3, lima.instance("a").get("cpus").asInt());
    }

    @Test
    @DisplayName("create of a name that exists: exit 1, the first one is untouched")
    void createTwice() {
        lima.create("a", "").exits(0);

        Result second = lima.create("a", "", "--cpus", "3").exits(1);

        assertTrue(second.err().contains("already exists"), second.err());
        assertEquals(1, lima.instance("a").get("cpus").asInt());
    }

    @Test
    @DisplayName("create: bad names, unknown flags, unused params and unknown drivers are refused, nothing is left")
    void createRefusals() {
        for (String name : List.of("-a", "a-", "a..b", "a b", "ü", "_a", "a.yaml", "x".repeat(77))) {
            lima.create(name, "").exits(1);
        }
        lima.create("a", "", "--nosuch").exits(1);
        lima.create("a", "", "--set", ".param.nobody = \"x\"").exits(1);
        lima.create("a", "", "--param", "nobody=x").exits(1);
        lima.create("a", "", "--set", ".vmType = \"bogus\"").exits(1);
        lima.create("a", "", "--set", ".mounts = [{\"location\": \"relative\"}]")
                .exits(1);
        lima.create("a", "", "--set", ".mounts = [{\"location\": \"/tmp\", \"mountPoint\": \"/etc\"}]")
                .exits(1);
        lima.create("a", "", "--set", ".images = []").exits(1);

        assertEquals("", lima.limactl("list", "-q").out());
    }

    @Test
    @DisplayName("create: a name whose sockets would be too long is refused")
    void createLongName() {
        int room = (Home.MAC ? 104 : 108) - 1 - "/ssh.sock.1234567890123456".length() - (lima.home + "/").length();
        lima.create("x".repeat(Math.min(76, room)), "").exits(0);
        if (room < 76) {
            lima.create("x".repeat(room + 1), "").exits(1);
        }
    }

    @Test
    @DisplayName("--set with JSON: paths with commas, quotes, colons and blanks arrive as they are")
    void setJson() {
        String path = "/tmp/co,mma 'q\" c:o: [b] #ü\\";
        String json = "[{\"location\": \"/tmp/co,mma 'q\\\" c:o: [b] #ü\\\\\", \"writable\": true}]";

        lima.create("a", "mounts: [{location: /tmp/t}]\n", "--set", ".mounts = " + json)
                .exits(0);

        JsonNode mounts = lima.instance("a").at("/config/mounts");
        assertEquals(1, mounts.size());
        assertEquals(path, mounts.at("/0/location").asText());
        assertTrue(mounts.at("/0/writable").asBoolean());
    }

    @Test
    @DisplayName("--set .a += [JSON]: appends to a list, or makes it")
    void setAppends() {
        lima.create(
                "a", "mounts: [{location: /tmp/t}]\n", "--set",
                ".mounts += [{\"location\": \"/usr\", \"mountPoint\": \"/u\"}]", "--set",
                ".provision += [{\"mode\": \"system\", \"script\": \"a\\nb\\n\"}]")
                .exits(0);

        JsonNode config = lima.instance("a").get("config");
        assertEquals("/u", config.at("/mounts/1/mountPoint").asText());
        assertEquals("a\nb\n", config.at("/provision/0/script").asText());
    }

    @Test
    @DisplayName("--set of an unknown key: taken, and every later command warns on stderr")
    void setUnknownKey() {
        lima.create("a", "", "--set", ".nosuchkey = 1").exits(0);

        Result list = lima.limactl("list", "-q").exits(0);
        Result json = lima.limactl("list", "--format", "{{.Name}}").exits(0);

        assertTrue(json.err().contains("nosuchkey"), json.err());
        assertEquals("a\n", list.out());
        assertEquals("a\n", json.out());
    }

    @Test
    @DisplayName("create from stdin: needs a name")
    void createFromStdin() {
        String template = Target.read(lima.template(""));

        lima.limactlReading(template, "create", "--tty=false", "-").exits(1);
        lima.limactlReading(template, "create", "--tty=false", "--name", "a", "-")
                .exits(0);

        assertEquals("Stopped", lima.status("a"));
    }

    @Test
    @DisplayName("start of a directory without lima.yaml: goes the way of create, and fails there")
    void startHalfMade() throws IOException {
        Files.createDirectories(lima.home.resolve("a"));

        Result start = lima.limactl("start", "--tty=false", "a").exits(1);

        assertTrue(start.err().contains("template:default"), start.err());
        assertTrue(start.err().contains("already exists"), start.err());
    }

    // --- what is merged into every instance ---

    @Test
    @DisplayName("default.yaml and override.yaml are merged into every instance on every load, unseen in lima.yaml")
    void defaultAndOverride() {
        lima.create("a", "mounts: [{location: /tmp/t}]\nprovision: [{script: own}]\n")
                .exits(0);
        Target.write(lima.home.resolve("_config/default.yaml"), """
                mounts: [{location: /usr, mountPoint: /d}]
                provision: [{script: default}]
                portForwards: [{guestPort: 1}]
                ssh: {forwardAgent: true}
                cpus: 7
                """);
        Target.write(lima.home.resolve("_config/override.yaml"), """
                mounts: [{location: /usr, mountPoint: /o, writable: true}]
                provision: [{script: override}]
                portForwards: [{guestPort: 2}]
                memory: 3GiB
                """);

        JsonNode config = lima.instance("a").get("config");

        assertEquals(List.of("/d", "/tmp/t", "/o"), config.get("mounts").findValuesAsText("mountPoint"));
        assertEquals(
                List.of("override", "own", "default"), config.get("provision").findValuesAsText("script"));
        assertEquals(List.of("2", "1"), config.get("portForwards").findValuesAsText("guestPort"));
        assertTrue(config.at("/ssh/forwardAgent").asBoolean());
        assertEquals(1, config.get("cpus").asInt());
        assertEquals("3GiB", config.get("memory").asText());
        assertFalse(Target.read(lima.lima("a", "lima.yaml")).contains("/usr"));
    }

    @Test
    @DisplayName("template copy --embed-all: a base's scripts come first, its mounts and forwards last; .. is refused")
    void embedAll() {
        lima.file("base.yaml", "mounts: [{location: /b}]\nprovision: [{script: base}]\ncpus: 2\ndisk: 9GiB\n");
        lima.file("script.sh", "#!/bin/sh\necho {{.Name}}\n");
        Path top = lima.template(
                "mounts: [{location: /t}]\nprovision: [{script: top}, {file: script.sh}]\nbase: base.yaml\n");

        String text = lima.limactl("template", "copy", "--embed-all", top.toString(), "-")
                .exits(0)
                .out();

        var yaml = Yaml.readMap(text);
        assertEquals("[{location=/t}, {location=/b}]", yaml.get("mounts").toString());
        assertEquals(
                "[{script=base}, {script=top}, {script=#!/bin/sh\necho {{.Name}}\n}]",
                yaml.get("provision").toString());
        assertEquals("1", yaml.get("cpus").toString());
        assertFalse(yaml.containsKey("base"));

        lima.file("up.yaml", "base: ../x.yaml\n");
        lima.limactl("template", "copy", "--embed-all", "up.yaml", "-").exits(1);
        lima.limactl("template", "copy", "--embed-all", "nosuch.yaml", "-").exits(1);
        assertTrue(lima.limactl("template", "copy", "--embed-all", "template:_images/ubuntu-lts", "-")
                .exits(0)
                .out()
                .contains("location"));
    }

    // --- edit ---

    @Test
    @DisplayName("edit that shrinks the disk: exit 1, lima.REJECTED.yaml in the working directory, nothing changed")
    void editShrinks() {
        lima.create("a", "");

        lima.limactl("edit", "--tty=false", "--disk", "1", "a").exits(1);

        assertTrue(Files.exists(lima.work.resolve("lima.REJECTED.yaml")));
        assertEquals(2L << 30, lima.instance("a").get("disk").asLong());
    }

    @Test
    @DisplayName("edit: without a flag or without a change exit 0; an unknown instance exit 1; nothing is checked"
            + " against the host")
    void editOddities() {
        lima.create("a", "");

        lima.limactl("edit", "--tty=false", "a").exits(0);
        lima.limactl("edit", "--tty=false", "--cpus", "1", "a").exits(0);
        lima.limactl("edit", "--tty=false", "--cpus", "1", "nosuch").exits(1);
        lima.limactl("edit", "--tty=false", "--cpus", "999", "--memory", "0.01", "a")
                .exits(0);

        assertEquals(999, lima.instance("a").get("cpus").asInt());
    }

    @Test
    @DisplayName("--mount: a comma in the path makes two mounts, exit 0; quoted as CSV it is right")
    void mountFlagIsCsv() {
        lima.create("a", "");

        lima.limactl("edit", "--tty=false", "--mount-only", "/tmp/a,b:w", "a").exits(0);
        assertEquals(
                List.of("/tmp/a", lima.work + "/b"),
                lima.instance("a").at("/config/mounts").findValuesAsText("location"));

        lima.limactl("edit", "--tty=false", "--mount-only", "\"/tmp/a,b:w\"", "a")
                .exits(0);
        assertEquals(
                List.of("/tmp/a,b"), lima.instance("a").at("/config/mounts").findValuesAsText("location"));

        lima.limactl("edit", "--tty=false", "--mount-only", "/tmp/a\"b", "a").exits(1);
    }

    @Test
    @DisplayName("--mount adds in front and cannot take writable away; --mount-only replaces; --mount-none empties")
    void mountFlags() {
        lima.create("a", "mounts: [{location: /tmp/t}]\n");

        lima.limactl("edit", "--tty=false", "--mount", "/tmp/co:lon:w", "a").exits(0);
        lima.limactl("edit", "--tty=false", "--mount", "/tmp/co:lon", "a").exits(0);
        JsonNode mounts = lima.instance("a").at("/config/mounts");
        assertEquals(List.of("/tmp/co:lon", "/tmp/t"), mounts.findValuesAsText("location"));
        assertTrue(mounts.at("/0/writable").asBoolean());

        lima.limactl("edit", "--tty=false", "--mount-only", "/tmp/a:w", "--mount-only", "/tmp/b", "a")
                .exits(0);
        assertEquals(
                List.of("true", "false"),
                lima.instance("a").at("/config/mounts").findValuesAsText("writable"));

        lima.limactl("edit", "--tty=false", "--mount-none", "a").exits(0);
        assertEquals(0, lima.instance("a").at("/config/mounts").size());

        lima.limactl("edit", "--tty=false", "--mount", "/x", "--mount-only", "/y", "a")
                .exits(1);
        lima.limactl("edit", "--tty=false", "--mount-none", "--mount-only", "/y", "a")
                .exits(1);
    }

    // --- clone, rename ---

    @Test
    @DisplayName("clone: a directory in the instance gets mode 0000, so that the Docker socket cannot be made there")
    void cloneLosesDirectories() throws IOException {
        lima.create("a", "");
        Files.createDirectories(lima.lima("a", "sock"));

        lima.limactl("clone", "--tty=false", "--cpus", "2", "a", "b").exits(0);

        assertEquals("---------", PosixFilePermissions.toString(Files.getPosixFilePermissions(lima.lima("b", "sock"))));
        assertEquals(2, lima.instance("b").get("cpus").asInt());
        lima.limactl("clone", "--tty=false", "b", "c").exits(1);
    }

    @Test
    @DisplayName("clone that fails: leaves a directory without lima.yaml, listed as Broken, that delete refuses")
    void cloneHalfMade() {
        lima.create("a", "");
        Target.write(lima.lima("a", "extra/file"), "x");

        lima.limactl("clone", "--tty=false", "a", "b").exits(1);

        assertTrue(Files.exists(lima.home.resolve("b")));
        assertFalse(Files.exists(lima.lima("b", "lima.yaml")), "copied in the order of names, after extra");
        assertEquals("Broken", lima.status("b"));
        Result delete = lima.limactl("delete", "-f", "b").exits(1);
        assertTrue(delete.err().contains("NOT deleted"), delete.err());
        lima.limactl("clone", "--tty=false", "a", "b").exits(1);
        lima.create("b", "").exits(1);
    }

    @Test
    @DisplayName("clone: the disk comes along, protection does not; unknown sources and known targets exit 1")
    void cloneRules() {
        lima.create("a", "").exits(0);
        lima.limactl("protect", "a").exits(0);

        lima.limactl("clone", "--tty=false", "--set", ".memory = \"2GiB\"", "a", "b")
                .exits(0);

        assertFalse(lima.instance("b").get("protected").asBoolean());
        assertEquals(2L << 30, lima.instance("b").get("memory").asLong());
        assertEquals(2L << 30, virtualSize("b"));
        lima.limactl("clone", "--tty=false", "a", "b").exits(1);
        lima.limactl("clone", "--tty=false", "nosuch", "c").exits(1);
        lima.limactl("clone", "--tty=false", "a").exits(1);
    }

    @Test
    @DisplayName("clone of an instance whose disk is an overlay: the clone's is one too, on the same image")
    void cloneOverlay() throws IOException {
        lima.create("a", "");
        Path image = Files.move(lima.lima("a", "disk"), lima.home.resolve("_config/image.qcow2"));
        lima.run(
                "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.toString(),
                lima.lima("a", "disk").toString())
                .exits(0);

        lima.limactl("clone", "--tty=false", "a", "b").exits(0);

        assertEquals(image.toString(), info("b").get("backing-filename").asText());
    }

    private JsonNode info(String name) {
        String disk = lima.lima(name, "disk").toString();
        return Target.json(
                lima.run("qemu-img", "info", "--output=json", disk).exits(0).out());
    }

    private long virtualSize(String name) {
        return info(name).get("virtual-size").asLong();
    }

    @Test
    @DisplayName("rename: the old name is gone, protection too")
    void rename() {
        lima.create("a", "");
        lima.limactl("protect", "a");

        lima.limactl("rename", "--tty=false", "a", "b").exits(0);

        assertEquals(List.of("b"), List.copyOf(lima.list().keySet()));
        assertFalse(lima.instance("b").get("protected").asBoolean());
        lima.limactl("rename", "--tty=false", "nosuch", "c").exits(1);
    }

    // --- stop, delete, protect, factory-reset ---

    @Test
    @DisplayName("stop of a stopped instance: exit 1; with -f exit 0; of an unknown one: exit 1 either way")
    void stopStopped() {
        lima.create("a", "");

        lima.limactl("stop", "a").exits(1);
        lima.limactl("stop", "-f", "a").exits(0);
        lima.limactl("stop", "nosuch").exits(1);
        lima.limactl("stop", "-f", "nosuch").exits(1);
        lima.limactl("restart", "nosuch").exits(1);
    }

    @Test
    @DisplayName("delete of an unknown instance: exit 0; of a protected one: exit 1, -f or not")
    void deleteAndProtect() {
        lima.create("a", "");
        Target.write(lima.lima("a", "own/file"), "x");

        lima.limactl("delete", "nosuch").exits(0);
        lima.limactl("delete", "-f", "nosuch").exits(0);
        lima.limactl("protect", "a").exits(0);
        lima.limactl("protect", "a").exits(0);
        assertTrue(lima.instance("a").get("protected").asBoolean());
        lima.limactl("delete", "a").exits(1);
        lima.limactl("delete", "-f", "a").exits(1);
        lima.limactl("factory-reset", "a").exits(1);
        lima.limactl("unprotect", "a").exits(0);
        lima.limactl("unprotect", "a").exits(0);
        lima.limactl("unprotect", "nosuch").exits(1);
        lima.limactl("delete", "a").exits(0);

        assertFalse(Files.exists(lima.home.resolve("a")));
    }

    @Test
    @DisplayName("factory-reset: keeps every *.yaml and directories with something in them; unknown: exit 0")
    void factoryReset() throws IOException {
        lima.create("a", "");
        Target.write(lima.lima("a", "my.yaml"), "x: 1\n");
        Target.write(lima.lima("a", "note.txt"), "x");
        Target.write(lima.lima("a", "full/file"), "x");
        Files.createDirectories(lima.lima("a", "empty"));

        lima.limactl("factory-reset", "a").exits(0);

        assertEquals("Stopped", lima.status("a"));
        assertTrue(Files.exists(lima.lima("a", "my.yaml")));
        assertTrue(Files.exists(lima.lima("a", "full/file")));
        for (String gone : List.of("disk", "note.txt", "empty")) {
            assertFalse(Files.exists(lima.lima("a", gone)), gone);
        }
        lima.limactl("factory-reset", "nosuch").exits(0);
    }

    // --- what interruptions and reboots leave ---

    @Test
    @DisplayName("a directory without lima.yaml: listed as Broken with its directory; stop -f, delete -f, protect: exit 1")
    void withoutYaml() {
        Target.write(lima.lima("a", "disk"), "part of it");

        JsonNode a = lima.instance("a");

        assertEquals("Broken", a.get("status").asText());
        assertEquals("", a.path("vmType").asText());
        assertTrue(a.path("config").isMissingNode() || a.path("config").isNull(), a.toString());
        lima.limactl("stop", "-f", "a").exits(1);
        lima.limactl("delete", "-f", "a").exits(1);
        lima.limactl("protect", "a").exits(1);
        assertTrue(Files.exists(lima.lima("a", "disk")));
    }

    @Test
    @DisplayName("what an interrupted create leaves, part of an image and no disk: Stopped as a good one; delete: exit 0")
    void partialImage() throws IOException {
        lima.create("a", "").exits(0);
        Files.move(lima.lima("a", "disk"), lima.lima("a", "image"));
        Target.write(lima.lima("a", "image"), "part of it");

        assertEquals("Stopped", lima.status("a"));
        lima.create("a", "").exits(1);
        lima.limactl("delete", "a").exits(0);
        assertFalse(Files.exists(lima.home.resolve("a")));
    }

    @Test
    @DisplayName("pid files of processes that ended: list removes them, and says Stopped")
    void deadPids() throws Exception {
        lima.create("a", "").exits(0);
        Process ended = new ProcessBuilder("true").start();
        ended.waitFor();
        Target.write(lima.lima("a", "ha.pid"), ended.pid() + "\n");
        Target.write(lima.lima("a", "qemu.pid"), ended.pid() + "\n");

        assertEquals("Stopped", lima.status("a"));

        assertFalse(Files.exists(lima.lima("a", "ha.pid")));
        assertFalse(Files.exists(lima.lima("a", "qemu.pid")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"ha.pid qemu.pid", "ha.pid", "qemu.pid"})
    @DisplayName("pid files that name another process: Broken; start, stop, delete: exit 1; stop -f kills that process")
    void othersPids(String files) throws Exception {
        lima.create("a", "", "--vm-type", "qemu").exits(0);
        Process other = new ProcessBuilder("sleep", "1000").start();
        try {
            for (String file : files.split(" ")) {
                Target.write(lima.lima("a", file), other.pid() + "\n");
            }

            assertEquals("Broken", lima.status("a"));
            lima.limactl("start", "--tty=false", "a").exits(1);
            lima.limactl("stop", "a").exits(1);
            lima.limactl("delete", "a").exits(1);
            assertTrue(other.isAlive());
            lima.limactl("stop", "-f", "a").exits(0);

            assertTrue(other.waitFor(10, TimeUnit.SECONDS), "it was killed");
            assertEquals("Stopped", lima.status("a"));
        } finally {
            other.destroyForcibly();
        }
    }

    @Test
    @DisplayName("stop -f removes *.pid and *.sock of the instance, but not the forwards in sock/")
    void stopRemovesSockets() {
        lima.create("a", "").exits(0);
        for (String file : List.of("ssh.sock", "qmp.sock", "x.pid", "sock/docker.sock")) {
            Target.write(lima.lima("a", file), "");
        }

        lima.limactl("stop", "-f", "a").exits(0);

        for (String gone : List.of("ssh.sock", "qmp.sock", "x.pid")) {
            assertFalse(Files.exists(lima.lima("a", gone)), gone);
        }
        assertTrue(Files.exists(lima.lima("a", "sock/docker.sock")));
    }

    // --- snapshot ---

    @Test
    @DisplayName("snapshot of a stopped instance: a tag can be there twice; apply of a missing one: exit 1 and no reason")
    void snapshots() {
        lima.create("a", "").exits(0);

        lima.limactl("snapshot", "create", "a", "--tag", "s1").exits(0);
        lima.limactl("snapshot", "create", "a", "--tag", "s1").exits(0);
        lima.limactl("snapshot", "create", "a", "--tag", "two words").exits(0);
        assertEquals(
                "s1\ns1\ntwo\n",
                lima.limactl("snapshot", "list", "-q", "a").exits(0).out());
        lima.limactl("snapshot", "delete", "a", "--tag", "s1").exits(0);
        lima.limactl("snapshot", "apply", "a", "--tag", "s1").exits(0);
        assertEquals(
                "s1\ntwo\n",
                lima.limactl("snapshot", "list", "-q", "a").exits(0).out());

        for (String verb : List.of("apply", "delete")) {
            Result missing = lima.limactl("snapshot", verb, "a", "--tag", "nosuch").exits(1);
            assertFalse(missing.err().contains("level=fatal"), missing.err());
        }
        lima.limactl("snapshot", "create", "a").exits(1);
        lima.limactl("snapshot", "list", "nosuch").exits(1);
    }

    // --- shell ---

    @Test
    @DisplayName("shell into a stopped or unknown instance: exit 1")
    void shellWithoutGuest() {
        lima.create("a", "");

        lima.limactl("shell", "a", "true").exits(1);
        lima.limactl("shell", "nosuch", "true").exits(1);
    }
}
