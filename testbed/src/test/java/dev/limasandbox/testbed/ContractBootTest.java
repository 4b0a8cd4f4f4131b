package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.limasandbox.testbed.Target.Result;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What the project relies on in a running instance: one boot for all cases, then a second one. The stand-in always; a
 * real Lima if the environment's SANDBOX_REAL_TEMPLATE is the path of a template that boots on this machine, which
 * takes minutes.
 */
@ParameterizedClass
@MethodSource("targets")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ContractBootTest {
    private static final String TEMPLATE = System.getenv("SANDBOX_REAL_TEMPLATE");

    /** Arguments that a shell, ssh or Lima could spoil. */
    private static final List<String> HARD = List.of(
            "", " ", "'", "\"", "$HOME", "`id`", "$(id)", "\\", "\\n", "a\nb", "\t", "\u0001", "*", "~", "ü€😀", "-n",
            "--", "--help", ";", "|", "&&", ">", "#", "!h", "{a,b}", "A=b", "a b=c");

    @Parameter
    Supplier<Target> made;

    private static Target lima;
    private static Path shared;
    private static Path missing;
    private static Result start;

    static Stream<Named<Supplier<Target>>> targets() {
        Named<Supplier<Target>> standIn = Named.of("stand-in", Target::standIn);
        return TEMPLATE == null || TEMPLATE.isEmpty() || Target.realProgram() == null
                ? Stream.of(standIn)
                : Stream.of(standIn, Named.of("real Lima", Target::real));
    }

    @BeforeParameterizedClassInvocation
    static void boot(Supplier<Target> made) {
        lima = made.get();
        if (lima.real) {
            World.timeLeft(20); // it is ten minutes after the tests' begin, as a rule
        }
        shared = lima.scratch.resolve("shared");
        Target.write(shared.resolve("from-host"), "host\n");
        Target.write(lima.scratch.resolve("secret"), "not mounted\n");
        missing = lima.scratch.resolve("missing");
        String template = """
                mounts:
                - {location: %s, writable: true}
                - {location: %s, mountPoint: /mnt/read-only}
                - {location: %s, mountPoint: /mnt/missing}
                param: {who: "the world"}
                portForwards:
                - {guestSocket: /run/none.sock, hostSocket: "{{.Dir}}/sock/none.sock"}
                provision:
                - mode: boot
                  script: echo boot >>/var/log/order
                - mode: data
                  path: /etc/data-file
                  permissions: 600
                  content: "data for {{.Name}}\\n"
                - mode: system
                  script: |
                    #!/bin/sh
                    echo "system $PARAM_who {{.User}} {{"{{"}}" >>/var/log/order
                - mode: system
                  script: |
                    #!/bin/sh
                    exit 7
                - mode: user
                  script: |
                    #!/bin/sh
                    echo "user $HOME $PWD" | sudo tee -a /var/log/order
                - mode: system
                  script: |
                    #!/bin/sh
                    echo system-again >>/var/log/order
                    touch /run/since-boot
                """.formatted(shared, shared, missing);
        List<String> create = new ArrayList<>(List.of("create", "--tty=false", "--name", "a"));
        create.add(
                lima.real
                        ? lima.file("template.yaml", "base: " + TEMPLATE + "\ncpus: 2\n" + template)
                                .toString()
                        : lima.template(template).toString());
        lima.limactl(create.toArray(String[]::new)).exits(0);
        start = lima.start("a");
    }

    @AfterParameterizedClassInvocation
    static void close() {
        lima.close();
    }

    @Test
    @Order(1)
    @DisplayName("start with a failing provision script: exit 0, and only serial.log knows")
    void startSucceeds() {
        start.exits(0);

        assertEquals("Running", lima.status("a"));
        String log = Target.read(lima.lima("a", "serial.log"));
        assertTrue(log.matches("(?s).*WARNING: Failed to execute /mnt/lima-cidata/provision.system/0000000\\d.*"), log);
        assertFalse(start.err().contains("Failed to execute"), start.err());
    }

    @Test
    @Order(2)
    @DisplayName("start of a running instance: exit 0 at once")
    void startAgain() {
        Result again = lima.limactl("start", "--tty=false", "a").exits(0);

        assertTrue(again.err().contains("already running"), again.err());
    }

    @Test
    @Order(3)
    @DisplayName("provision: boot, data, system, user, whatever their order in the template; a failure stops nothing")
    void provisionOrder() {
        String home = lima.instance("a").at("/config/user/home").asText();

        List<String> order = lima.ssh("a", "cat /var/log/order").exits(0).out().lines().toList();

        assertEquals(
                List.of(
                        "boot",
                        "system the world " + System.getProperty("user.name") + " {{",
                        "system-again",
                        "user " + home + " " + home),
                order);
        assertEquals(
                "data for a\n",
                lima.ssh("a", "sudo cat /etc/data-file").exits(0).out());
    }

    @Test
    @Order(4)
    @DisplayName("list: port and processes of a running instance; events with running in ha.stdout.log")
    void listRunning() {
        JsonNode a = lima.instance("a");

        int port = a.get("sshLocalPort").asInt();
        assertTrue(Target.read(lima.lima("a", "ssh.config")).contains("Port " + port));
        assertEquals(
                a.get("hostAgentPID").asText(),
                Target.read(lima.lima("a", "ha.pid")).strip());
        List<JsonNode> events = Target.read(lima.lima("a", "ha.stdout.log"))
                .lines()
                .map(Target::json)
                .toList();
        assertEquals(port, events.get(0).at("/status/sshLocalPort").asInt());
        assertTrue(events.stream().anyMatch(event -> event.at("/status/running").asBoolean()));
    }

    @Test
    @Order(5)
    @DisplayName("mounts: the same files on both sides, read-only holds against root, a missing directory is made")
    void mounts() {
        assertEquals("host\n", lima.ssh("a", "cat " + shared + "/from-host").out());
        lima.ssh("a", "echo guest >" + shared + "/from-guest").exits(0);
        assertEquals("guest\n", Target.read(shared.resolve("from-guest")));
        assertTrue(lima.ssh("a", "sudo touch /mnt/read-only/x").code() != 0);
        assertFalse(Files.exists(shared.resolve("x")));
        assertTrue(Files.isDirectory(missing));
        lima.ssh("a", "mountpoint " + shared).exits(0);
        assertTrue(lima.ssh("a", "mountpoint " + lima.scratch).code() != 0);
        assertTrue(lima.ssh("a", "cat " + lima.scratch + "/secret").code() != 0);
    }

    @Test
    @Order(6)
    @DisplayName("edit, clone, delete of a running instance: exit 1")
    void refusedWhileRunning() {
        lima.limactl("edit", "--tty=false", "--cpus", "2", "a").exits(1);
        lima.limactl("clone", "--tty=false", "a", "b").exits(1);
        lima.limactl("delete", "a").exits(1);

        assertFalse(Files.exists(lima.home.resolve("b")));
    }

    @Test
    @Order(7)
    @DisplayName("shell: arguments arrive byte for byte")
    void shellArguments() {
        List<String> words = new ArrayList<>(List.of("shell", "--workdir", "/tmp", "a", "printf", "[%s]"));
        words.addAll(HARD);

        String out = lima.limactl(words.toArray(String[]::new)).exits(0).out();

        assertEquals("[" + String.join("][", HARD) + "]", out);
    }

    @Test
    @Order(8)
    @DisplayName("shell: a command can hide before the = of the first argument")
    void shellAssignment() {
        assertEquals(
                "hidden\n",
                lima.limactl("shell", "--workdir", "/tmp", "a", "$(echo${IFS}hidden>&2)=1", "true")
                        .err()
                        .replaceFirst("(?s).*(hidden\n).*", "$1"));
        assertEquals("1\n", lima.limactl("shell", "a", "A=1", "printenv", "A").out());
    }

    @Test
    @Order(9)
    @DisplayName("shell: exit codes are passed on, death by a signal is 255, not found 127, a missing --workdir 1")
    void shellExitCodes() {
        for (int code : List.of(0, 1, 3, 127, 255)) {
            lima.limactl("shell", "a", "sh", "-c", "exit " + code).exits(code);
        }
        lima.limactl("shell", "a", "sh", "-c", "kill -9 $$").exits(255);
        lima.limactl("shell", "a", "nosuchcommand").exits(127);
        lima.limactl("shell", "--workdir", "/nope", "a", "true").exits(1);
        assertEquals(
                "in\n",
                lima.limactlReading("in\n", "shell", "a", "cat").exits(0).out());
    }

    @Test
    @Order(10)
    @DisplayName("ssh.config: own connections work beside Lima's master, with a terminal on request")
    void sshConfig() {
        assertTrue(Files.exists(lima.lima("a", "ssh.sock")), "Lima's own master");
        String tty = lima.run(
                "ssh", "-F", lima.lima("a", "ssh.config").toString(), "-o", "ControlPath=none", "-tt", "lima-a",
                "tty; exit 3")
                .exits(3)
                .out();
        assertTrue(tty.contains("/dev/pts/"), tty);
        assertEquals("lima-a\n", lima.ssh("a", "hostname").out());
    }

    @Test
    @Order(11)
    @DisplayName("snapshot create of a running instance with a mount: exit 0, and no snapshot")
    void snapshotRunning() {
        lima.limactl("snapshot", "create", "a", "--tag", "s1").exits(0);
    }

    @Test
    @Order(12)
    @DisplayName("the processes in the pid files: hostagent NAME and -name lima-NAME, and no younger than the files")
    void processesOfPidFiles() {
        for (String file : List.of("ha.pid", "qemu.pid")) {
            Path pidFile = lima.lima("a", file);
            String pid = Target.read(pidFile).strip();
            String line = lima.run("ps", "-ww", "-o", "args=", "-p", pid).exits(0).out().strip();
            assertTrue(line.matches(file.equals("ha.pid") ? ".* hostagent (.* )?a" : ".* -name lima-a( .*)?"), line);
            long born = ProcessHandle.of(Long.parseLong(pid)).orElseThrow().info().startInstant().orElseThrow()
                    .toEpochMilli();
            assertTrue(born < pidFile.toFile().lastModified() + 10_000, file);
        }
    }

    @Test
    @Order(20)
    @DisplayName("stop: exit 0, then Stopped, without pid files; the snapshot of the running instance is not there")
    void stop() {
        lima.ssh("a", "echo kept >~/kept && sync").exits(0);

        lima.limactl("stop", "a").exits(0);

        assertEquals("Stopped", lima.status("a"));
        assertFalse(Files.exists(lima.lima("a", "ha.pid")));
        assertEquals("", lima.limactl("snapshot", "list", "-q", "a").out());
        lima.limactl("stop", "a").exits(1);
    }

    @Test
    @Order(21)
    @DisplayName("clone and start: the disk's files are there, /run is new, every script has run again; two at once")
    void secondBoot() {
        lima.limactl("clone", "--tty=false", "a", "b").exits(0);

        lima.start("b").exits(0);

        assertEquals("kept\n", lima.ssh("b", "cat ~/kept").out());
        assertEquals("lima-b\n", lima.ssh("b", "hostname").out());
        assertEquals("data for b\n", lima.ssh("b", "sudo cat /etc/data-file").out());
        assertEquals("2\n", lima.ssh("b", "grep -c system-again /var/log/order").out());
    }

    @Test
    @Order(22)
    @DisplayName("delete -f of a running instance: exit 0, nothing of it is left")
    void deleteRunning() {
        long driver = lima.instance("b").get("driverPID").asLong();

        lima.limactl("delete", "-f", "b").exits(0);

        assertFalse(Files.exists(lima.home.resolve("b")));
        assertFalse(Sh.isAlive(driver));
    }

    @Test
    @Order(23)
    @DisplayName("start that is interrupted: the machine goes on; start again: exit 0 at once, whether it is ready or not")
    void interruptedStart() throws Exception {
        Process start = lima.command(lima.program.toString(), "start", "--tty=false", "--timeout", "30m", "a")
                .redirectErrorStream(true).redirectOutput(lima.work.resolve("start.log").toFile()).start();
        World.await(300, "it runs", () -> lima.status("a").equals("Running"));
        start.destroyForcibly().waitFor();

        lima.limactl("start", "--tty=false", "a").exits(0);

        assertEquals("Running", lima.status("a"));
        World.await(1800, "it boots", () -> {
            if (lima.crashed("a")) {
                lima.limactl("stop", "-f", "a");
                lima.start("a").exits(0);
            }
            return lima.ssh("a", "test -e /run/lima-boot-done").code() == 0;
        });
    }

    @Test
    @Order(24)
    @DisplayName("a killed host agent: Broken, the machine goes on; start, stop, delete: exit 1; stop -f, start: exit 0")
    void killedHostAgent() {
        lima.ssh("a", "echo synced >~/synced && sync").exits(0);
        long driver = lima.instance("a").get("driverPID").asLong();
        Cli.signal("KILL", lima.instance("a").get("hostAgentPID").asLong());
        World.await(30, "it is broken", () -> lima.status("a").equals("Broken"));

        assertTrue(Sh.isAlive(driver));
        lima.ssh("a", "true").exits(0);
        lima.limactl("start", "--tty=false", "a").exits(1);
        lima.limactl("stop", "a").exits(1);
        lima.limactl("delete", "a").exits(1);
        lima.limactl("stop", "-f", "a").exits(0);

        assertEquals("Stopped", lima.status("a"));
        assertFalse(Sh.isAlive(driver));
        lima.start("a").exits(0);
        assertEquals("synced\n", lima.ssh("a", "cat ~/synced").out());
    }

    @Test
    @Order(25)
    @DisplayName("a killed machine: the host agent ends by itself, Stopped after some seconds")
    void killedMachine() {
        Cli.signal("KILL", lima.instance("a").get("driverPID").asLong());

        World.await(60, "it is stopped", () -> lima.status("a").equals("Stopped"));

        assertFalse(Files.exists(lima.lima("a", "ha.pid")));
    }
}
