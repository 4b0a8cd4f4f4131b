package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.limasandbox.testbed.Target.Result;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** What the stand-in does in its own way: what it refuses, what its guest shows and hides, how its processes end. */
class StandInTest {
    private Target lima;

    @BeforeEach
    void open() {
        lima = Target.standIn();
    }

    @AfterEach
    void close() throws IOException {
        lima.close();
        assertEquals(List.of(), processesOf(lima), "processes that were left");
    }

    /** The processes that have the target's directory in their command line. */
    private static List<String> processesOf(Target target) throws IOException {
        try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
            return processes
                    .map(process -> process.resolve("cmdline"))
                    .filter(Files::isReadable)
                    .map(StandInTest::readOrNothing)
                    .filter(command -> command.contains(target.scratch + "/"))
                    .toList();
        }
    }

    private static String readOrNothing(Path file) {
        try {
            return Files.readString(file).replace('\0', ' ');
        } catch (IOException e) {
            return "";
        }
    }

    private void start(String name, String more) {
        lima.create(name, more).exits(0);
        lima.limactl("start", "--tty=false", name).exits(0);
    }

    private static void waitFor(String what, BooleanSupplier condition) {
        for (int i = 0; i < 1200 && !condition.getAsBoolean(); i++) {
            HostAgent.pause(50);
        }
        assertTrue(condition.getAsBoolean(), what);
    }

    // --- what it does not know ---

    @Test
    @DisplayName("a flag, a command or a yq expression that it does not know is an error that names it")
    void unknownIsAnError() {
        lima.create("a", "");

        for (List<String> words : List.of(
                List.of("list", "--nosuch"), List.of("start", "--vnc"), List.of("stop", "--nosuch", "a"),
                List.of("edit", "--tty=false", "--set", "del(.nosuch)", "a"),
                List.of("edit", "--tty=false", "--set", ".cpus = 1 | .memory = \"nosuch\"", "a"), List.of("nosuch"),
                List.of("list", "--format", "{{range .nosuch}}{{end}}"))) {
            String err = lima.limactl(words.toArray(String[]::new)).exits(1).err();
            assertTrue(err.contains("nosuch") || err.contains("vnc"), err);
        }
    }

    @Test
    @DisplayName("it answers as version 2.2.0")
    void version() {
        assertEquals(
                "limactl version 2.2.0\n", lima.limactl("--version").exits(0).out());
    }

    // --- the guest ---

    @Test
    @DisplayName("the guest sees its mounts and nothing else of the host's files; mount --bind reaches, and is told")
    void filesOfTheGuest() {
        Path shared = lima.scratch.resolve("shared");
        Target.write(shared.resolve("file"), "here\n");
        start("a", "mounts: [{location: " + shared + ", mountPoint: /mnt/shared, writable: true}]\n");

        assertEquals(
                "",
                lima.ssh(
                        "a",
                        "ls -A " + lima.scratch + " /home/" + System.getProperty("user.name")
                                + " 2>&1 >/dev/null | grep -v 'No such'")
                        .out());
        String bind = "sudo mkdir -p '/work dir/x' && sudo mount --bind /mnt/shared '/work dir/x'"
                + " && mountpoint -q '/work dir/x' && cat '/work dir/x/file'"
                + " && sudo umount '/work dir/x' && ! mountpoint -q '/work dir/x' && ls -A '/work dir/x'";
        assertEquals("here\n", lima.ssh("a", bind).exits(0).out());
        assertTrue(lima.ssh("a", "sudo mount /dev/sda /mnt").code() != 0);
        assertEquals("0\n", lima.ssh("a", "pgrep -c java").out(), "no processes of the host");
    }

    @Test
    @DisplayName("a template's scripts run, save those that install packages; the one that sandbox.java adds always")
    void scripts() {
        start("a", """
                provision:
                - {mode: system, script: "#!/bin/sh\\n# apt-get\\ntouch /var/tmp/packages"}
                - {mode: system, script: "#!/bin/sh\\n# apt-get\\necho $PARAM_sandbox >/var/tmp/ours"}
                - {mode: system, script: "#!/bin/sh\\nmkdir -p /run/sandbox; sudo systemctl enable x && apt list"}
                - {mode: user, script: "#!/bin/sh\\n# agent-sandbox 7\\nid -un >/var/tmp/user"}
                param: {sandbox: "v=1 kind=sandbox"}
                """);

        assertEquals(
                "v=1 kind=sandbox\n" + System.getProperty("user.name") + "\n",
                lima.ssh("a", "cat /var/tmp/ours /var/tmp/user").exits(0).out());
        assertEquals("", lima.ssh("a", "ls /var/tmp/packages 2>/dev/null").out());
        assertEquals(
                "agent-sandbox 7\n", lima.ssh("a", "cat /run/sandbox/ready").out());
    }

    @Test
    @DisplayName("the project's own template: ready, its marker, log and agents' hint; a second boot too")
    void ownTemplate() {
        Path template = Path.of(lima.program.getParent() + "/../../templates/agent-sandbox.yaml")
                .normalize();
        lima.limactl("create", "--tty=false", "--name", "a", template.toString())
                .exits(0);
        for (int boot = 1; boot <= 2; boot++) {
            lima.limactl("start", "--tty=false", "--timeout", "5m", "a").exits(0);
            assertTrue(lima.ssh("a", "cat /run/sandbox/ready").exits(0).out().startsWith("agent-sandbox "));
            assertEquals(
                    boot + "\n",
                    lima.ssh("a", "grep -c '^== boot' /var/log/sandbox.log").out());
            lima.limactl("stop", "a").exits(0);
        }
    }

    @Test
    @DisplayName("a script that fails: no ready marker, so that a probe for it never succeeds, and start times out")
    void failingScript() {
        lima.create("a", """
                provision: [{mode: system, script: "#!/bin/sh\\n# /run/sandbox\\nexit 3"}]
                probes: [{script: "#!/bin/sh\\ntest -e /run/sandbox/ready", hint: look}]
                """);

        Result start = lima.limactl("start", "--tty=false", "--timeout", "3s", "a").exits(1);

        assertTrue(start.err().contains("did not receive an event with the `running` status"), start.err());
        assertFalse(start.err().contains("look"), "the hint is told nowhere");
        waitFor("the guest runs on", () -> lima.ssh("a", "test -s /run/sandbox/failed").code() == 0);
        assertEquals("Running", lima.status("a"));
        assertEquals(
                "provision.system/00000000 3\n",
                lima.ssh("a", "cat /run/sandbox/failed").out());
    }

    @Test
    @DisplayName("npm: a global package lands in the guest's own home, on the PATH of every session, and is cloned")
    void npm() {
        Path shared = lima.scratch.resolve("shared");
        Target.write(
                shared.resolve("package.json"), "{\"name\": \"hello\", \"version\": \"1.0.0\", \"bin\": \"hello.js\"}");
        Target.write(shared.resolve("hello.js"), "#!/usr/bin/env node\nconsole.log('hello');\n");
        start("a", "mounts: [{location: " + shared + "}]\n");

        lima.ssh(
                "a",
                "npm pack --silent --pack-destination /tmp " + shared
                        + " && sudo npm install -g --offline /tmp/hello-1.0.0.tgz")
                .exits(0);
        assertEquals("hello\n", lima.ssh("a", "hello").exits(0).out());
        assertEquals("hello\n", lima.ssh("a", "bash -lc hello").exits(0).out());

        lima.limactl("stop", "a").exits(0);
        lima.limactl("clone", "--tty=false", "a", "b").exits(0);
        lima.limactl("start", "--tty=false", "b").exits(0);
        assertEquals("hello\n", lima.ssh("b", "hello").exits(0).out());
    }

    @Test
    @DisplayName("keys: SendEnv over an own master brings each session its own, and no other connection any")
    void keys() {
        start("a", "");
        String config = lima.lima("a", "ssh.config").toString();
        String own = "ControlPath=" + lima.scratch.resolve("own.sock");
        ProcessBuilder master = lima.command("ssh", "-F", config, "-o", own, "-o", "SendEnv=*", "-MNf", "lima-a")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD);
        Result.of(master, "").exits(0);

        for (String key : List.of("one", "two")) {
            ProcessBuilder session = lima.command(
                    "ssh", "-F", config, "-o", own, "-o", "SendEnv=A_KEY", "lima-a", "printenv A_KEY OTHER");
            session.environment().put("A_KEY", key);
            session.environment().put("OTHER", "x");
            assertEquals(key + "\n", Result.of(session, "").out());
        }
        ProcessBuilder limas = lima.command("ssh", "-F", config, "-o", "SendEnv=A_KEY", "lima-a", "printenv A_KEY");
        limas.environment().put("A_KEY", "three");
        assertEquals("", Result.of(limas, "").out(), "Lima's master was opened without it");
    }

    @Test
    @DisplayName("Docker's socket: answers from the host, not on a clone, whose sock/ has mode 0000, until that is mended")
    void dockerSocket() {
        start(
                "a",
                "portForwards: [{guestSocket: \"/run/user/{{.UID}}/docker.sock\", hostSocket:"
                        + " \"{{.Dir}}/sock/docker.sock\"}]\n");
        assertEquals("OK", ping("a"));
        lima.limactl("stop", "a").exits(0);
        assertFalse(Files.exists(lima.lima("a", "sock/docker.sock")));

        lima.limactl("clone", "--tty=false", "a", "b").exits(0);
        lima.limactl("start", "--tty=false", "b").exits(0);
        assertEquals("", ping("b"));

        lima.limactl("stop", "b").exits(0);
        lima.run("chmod", "700", lima.lima("b", "sock").toString());
        lima.limactl("start", "--tty=false", "b").exits(0);
        assertEquals("OK", ping("b"));
    }

    private String ping(String name) {
        String perl = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new($ARGV[0]) or exit; print $s"
                + " \"GET /_ping HTTP/1.1\\r\\n\\r\\n\"; local $/; my $a = <$s>; print $a =~ /\\r\\n\\r\\n(.*)/s";
        return lima.run("perl", "-e", perl, lima.lima(name, "sock/docker.sock").toString())
                .out();
    }

    @Test
    @DisplayName("mounts at odd paths: a comma stops QEMU, after a blank the second boot fails, brackets spoil the first")
    void oddMounts() throws IOException {
        Path blank = Files.createDirectories(lima.scratch.resolve("a blank"));
        Target.write(blank.resolve("file"), "x");
        for (String odd : List.of("a,comma", "a[bracket", "a #hash")) {
            Files.createDirectories(lima.scratch.resolve(odd));
            lima.create("a", "mounts: [{location: \"" + lima.scratch.resolve(odd) + "\"}]\n")
                    .exits(0);
            lima.limactl("start", "--tty=false", "--timeout", "3s", "a").exits(1);
            lima.limactl("delete", "-f", "a").exits(0);
        }
        start("a", "mounts: [{location: \"" + blank + "\"}]\n");
        assertEquals("", lima.ssh("a", "ls '" + blank + "'").exits(0).out());
        lima.limactl("stop", "a").exits(0);
        lima.limactl("start", "--tty=false", "--timeout", "3s", "a").exits(1);
    }

    @Test
    @DisplayName("start --progress: the boot log's lines are events")
    void progress() {
        lima.create("a", "provision: [{script: \"#!/bin/sh\\necho step one\"}]\n");

        lima.limactl("start", "--tty=false", "--progress", "a").exits(0);

        waitFor(
                "the line is told",
                () -> Target.read(lima.lima("a", "ha.stdout.log"))
                        .lines()
                        .anyMatch(line -> Target.json(line)
                                .at("/status/cloudInitProgress/logLine")
                                .asText()
                                .equals("step one")));
    }

    // --- lives and ends ---

    @Test
    @DisplayName("start killed while it boots: the guest boots on, and a second start ends with 0 before it is ready")
    void startKilled() throws IOException, InterruptedException {
        lima.create("a", "provision: [{mode: system, script: \"#!/bin/sh\\nsleep 3; touch /run/slow\"}]\n");
        Process start = lima.command(lima.program.toString(), "start", "--tty=false", "a")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        waitFor("it runs", () -> lima.status("a").equals("Running"));
        start.destroyForcibly().waitFor();

        lima.limactl("start", "--tty=false", "a").exits(0);

        assertTrue(lima.ssh("a", "test -e /run/lima-boot-done").code() != 0);
        waitFor(
                "the boot ends",
                () -> lima.ssh("a", "test -e /run/lima-boot-done -a -e /run/slow")
                        .code() == 0);
    }

    @Test
    @DisplayName("host agent killed: Broken, nothing but stop -f works, and then start again")
    void agentKilled() {
        start("a", "");
        ProcessHandle.of(lima.instance("a").get("hostAgentPID").asLong())
                .orElseThrow()
                .destroyForcibly();
        waitFor("it is broken", () -> lima.status("a").equals("Broken"));

        lima.ssh("a", "true").exits(0);
        lima.limactl("start", "--tty=false", "a").exits(1);
        lima.limactl("stop", "a").exits(1);
        lima.limactl("delete", "a").exits(1);
        lima.limactl("stop", "-f", "a").exits(0);
        assertEquals("Stopped", lima.status("a"));
        lima.limactl("start", "--tty=false", "a").exits(0);
    }

    @Test
    @DisplayName("two starts at once: one fails, the other never hears of its guest, which runs; stop then fails too")
    void twoStarts() throws IOException {
        lima.create("a", "provision: [{mode: system, script: \"#!/bin/sh\\nsleep 2\"}]\n");
        Process first = lima.command(lima.program.toString(), "start", "--tty=false", "--timeout", "8s", "a")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        waitFor("the first has its host agent", () -> Files.exists(lima.lima("a", "ha.pid")));
        // What the loser of the race does before it finds out.
        Files.delete(lima.lima("a", "ha.stdout.log"));
        Files.createFile(lima.lima("a", "ha.stdout.log"));

        assertEquals(1, first.onExit().join().exitValue());
        waitFor("the guest runs", () -> lima.ssh("a", "true").code() == 0);
        lima.limactl("stop", "a").exits(1);
        assertEquals("Stopped", lima.status("a"));
    }

    @Test
    @DisplayName("snapshot apply of a running instance: exit 0, and the guest is paused; stop -f ends it")
    void snapshotPauses() throws IOException, InterruptedException {
        start("a", "");

        lima.limactl("snapshot", "apply", "a", "--tag", "nosuch").exits(0);

        Process ssh = lima.command("ssh", "-F", lima.lima("a", "ssh.config").toString(), "lima-a", "true")
                .start();
        assertFalse(ssh.waitFor(2, TimeUnit.SECONDS));
        ssh.destroyForcibly();
        assertEquals("Running", lima.status("a"));
        lima.limactl("stop", "-f", "a").exits(0);
    }

    @Test
    @DisplayName("poweroff in the guest: Stopped")
    void powerOff() {
        start("a", "");

        lima.ssh("a", "sudo poweroff");

        waitFor("it is stopped", () -> lima.status("a").equals("Stopped"));
    }
}
