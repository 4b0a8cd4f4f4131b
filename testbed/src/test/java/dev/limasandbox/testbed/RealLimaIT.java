package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/**
 * The whole of {@code sandbox} on a real Lima with real virtual machines, in one life: base, clone, mounts, agent, key,
 * Docker, stop, start, a second sandbox, deletion. Each method goes on where the one before it stopped.
 *
 * <p>SANDBOX_REAL_TEMPLATE names the template of the guest (testbed/image/build prints it).
 */
@EnabledIfEnvironmentVariable(named = "SANDBOX_REAL_TEMPLATE", matches = ".+", disabledReason = "no real Lima here")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RealLimaIT {
    private static final Path SANDBOX = World.CHECKOUT.resolve("sandbox");
    private static final Map<String, String> ENV = new TreeMap<>(System.getenv());
    private static Path root;
    private static Path lima;
    private static Path project;

    @BeforeAll
    static void begin() throws IOException {
        root = Files.createTempDirectory(Path.of("/tmp").toRealPath(), "rl");
        lima = Files.createDirectory(root.resolve("l"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        project = Files.createDirectory(root.resolve("project"));
        World.write(project.resolve("from-host.txt"), "of the host\n");
        ENV.keySet().removeIf(name -> name.endsWith("_API_KEY") || name.equals("GITHUB_TOKEN"));
        ENV.put("LIMA_HOME", lima.toString());
        ENV.put("SANDBOX_TEMPLATE", System.getenv("SANDBOX_REAL_TEMPLATE"));
        ENV.put("SANDBOX_MEMORY", "2");
        ENV.put("SANDBOX_CPUS", "2");
        ENV.put("LANG", "C.UTF-8");
        ENV.remove("SANDBOX_DISK");
    }

    @AfterAll
    static void end() throws IOException {
        try (Stream<Path> instances = Files.list(lima)) {
            for (Path i : instances.filter(p -> !p.getFileName().toString().startsWith("_")).toList()) {
                limactl("unprotect", i.getFileName().toString());
                limactl("delete", "-f", i.getFileName().toString());
            }
        }
        call(Duration.ofMinutes(1), Map.of(), List.of("rm", "-rf", root.toString()));
    }

    @BeforeEach
    void withinTheTime() {
        World.timeLeft(66);
    }

    @Test
    @Order(1)
    void makesABaseClonesItAndRunsTheCommandInTheProject() {
        Cli.Result r = sandbox(Duration.ofMinutes(40), "demo", project.toString(), "sh", "-c", "pwd; cat from-host.txt")
                .exits(0)
                .out(project + "\nof the host\n").errHas("its base is built once", "cloning base-", "booting demo");
        assertFalse(r.err().contains("\033"), "no escape sequences where there is no terminal: " + r);
        assertTrue(
                Files.isSymbolicLink(lima.resolve("demo/ssh.sock")) || Files.exists(lima.resolve("demo/ssh.config")));
    }

    @Test
    @Order(2)
    void theMountWorksBothWaysAndNothingElseOfTheHostIsSeen() {
        demo("sh", "-c", "echo of the guest > from-guest.txt").exits(0);
        assertEquals("of the guest\n", World.read(project.resolve("from-guest.txt")));
        World.write(project.resolve("later.txt"), "later\n");
        demo("cat", "later.txt").exits(0).out("later\n");
        String home = System.getProperty("user.home");
        demo("sh", "-c",
                "mount | grep -c 'type 9p\\|type virtiofs'; ls " + home + " " + lima + " 2>&1 | grep -vc cannot")
                .out("1\n0\n");
    }

    @Test
    @Order(3)
    void theToolsOfTheGuideAreThere() {
        demo("sh", "-c",
                "for t in gcc make git curl wget jq rg fd psql pg_dump yq htop node npm tmux rsync perl docker; do"
                        + " command -v $t >/dev/null || echo missing $t; done; yq --version; psql --version; node --version")
                .exits(0)
                .outHas("mikefarah", "(PostgreSQL) 18", "v2");
        demo("sh", "-c",
                "for t in gcc make jq rg fd psql yq htop node tmux rsync; do command -v $t >/dev/null || echo missing"
                        + " $t; done")
                .out("");
    }

    @Test
    @Order(4)
    void exitCodesAndStreamsAreTheCommandsOwn() {
        demo("sh", "-c", "echo o; echo e >&2; exit 7").exits(7).out("o\n").errHas("e");
        demo("sh", "-c", "exit 255").exits(255);
        demo("sh", "-c", "kill -9 $$").exits(137);
        demo("no-such-command").exits(127);
        demo("printf", "[%s]", "a b", "", "$HOME", "*", "it's").exits(0).out("[a b][][$HOME][*][it's]");
    }

    @Test
    @Order(5)
    void anAgentIsInstalledFromNpmAndAnswers() {
        Cli.Result r = sandbox(Duration.ofMinutes(25), "demo", "claude", "--version").exits(0)
                .outHas("Claude Code").errHas("installing claude");
        sandbox(Duration.ofMinutes(5), "demo", "claude", "--version").exits(0).out(r.out()).errLacks("installing");
        demo("sh", "-c", "find ~ ! -user $(id -un) | head").exits(0).out("");
    }

    @Test
    @Order(6)
    void aKeyReachesTheCommandAndNothingElse() throws IOException {
        String value = "sk-test-" + ProcessHandle.current().pid() + "-not-a-key";
        Map<String, String> key = Map.of("ANTHROPIC_API_KEY", value);
        Cli.Running session = start(key, "demo", "sh", "-c", "echo $ANTHROPIC_API_KEY; exec sleep 600");
        session.awaitOut(value);
        assertEquals(List.of(), argvs().stream().filter(a -> a.contains(value)).toList(), "argv on the host");
        demo("sudo", "sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' ' | grep -c 'sk-tes[t]-'; true").exits(0).out("0\n");
        demo("printenv", "ANTHROPIC_API_KEY").exits(1).out("");
        session.signal("TERM").ends(Duration.ofSeconds(30));
        call(Duration.ofMinutes(2), Map.of(), List.of("grep", "-rlsF", "--exclude=disk", "--exclude-dir=images", value,
                lima.toString())).exits(1).out("");
        demo("sudo", "sh", "-c", "grep -rls 'sk-tes[t]-' /etc /home /run /tmp /var/log; true").exits(0).out("");
        assertFalse(World.read(lima.resolve("demo/lima.yaml")).contains(value));
    }

    @Test
    @Order(7)
    void aKilledClientEndsTheCommandInTheGuest() {
        Cli.Running session = start(Map.of(), "demo", "sh", "-c", "echo on; exec sleep 4242");
        session.awaitOut("on");
        demo("pgrep", "-f", "^sleep 4242").exits(0);
        session.signal("KILL");
        World.await(Duration.ofSeconds(60), () -> "sleep still runs in the guest",
                () -> demo("pgrep", "-f", "^sleep 4242").exit() == 1);
    }

    @Test
    @Order(8)
    void dockerRunsAContainerAndAnswersTheHost() {
        demo("sh", "-c", "tar -ch -C / bin/sh bin/echo $(ldd /bin/sh | grep -o '/lib[^ ]*' | sort -u | sed 's,^/,,') |"
                + " docker import - tiny && docker run --rm tiny /bin/echo from a container").exits(0)
                .outHas("from a container");
        demo("sh", "-c", "echo in | docker run --rm -i tiny /bin/sh -c 'while read x; do echo $x; done; echo end'")
                .exits(0).out("in\nend\n");
        docker("demo").exits(0).outHas("tiny");
    }

    @Test
    @Order(9)
    void nothingThatListensInTheGuestAppearsOnTheHost() {
        int port = 48231;
        Cli.Running server = start(Map.of(), "demo", "python3", "-c",
                "import socket,time; s=socket.create_server(('0.0.0.0'," + port
                        + ")); print('up',flush=True); time.sleep(60)");
        server.awaitOut("up");
        World.await(Duration.ofSeconds(30), () -> "Lima's event that the port is not forwarded",
                () -> World.read(lima.resolve("demo/ha.stdout.log")).contains(":" + port));
        assertThrows(IOException.class, () -> connect(port));
        server.signal("TERM").ends(Duration.ofSeconds(30));
    }

    @Test
    @Order(10)
    void stopAndStartKeepWhatWasInstalled() {
        demo("sh", "-c", "mkdir -p ~/.claude; echo login > ~/.claude/.credentials.json").exits(0);
        restarted("demo", "sh", "-c", "cat ~/.claude/.credentials.json; docker images;"
                + " [ /run/sandbox/ready -ot /run/user/$(id -u)/docker.pid ] && echo Docker after the boot")
                .outHas("login", "tiny", "Docker after the boot").errHas("booting demo").errLacks("installing");
        demo("sh", "-c", "ls /run/sandbox/fast && cloud-init status || journalctl -b -o cat -u sandbox-boot")
                .outHas("/run/sandbox/fast", "done");
        sandbox(Duration.ofMinutes(5), Map.of("ANTHROPIC_API_KEY", "sk-test"), "demo", "claude", "--version").exits(0)
                .errHas("forwarding ANTHROPIC_API_KEY", "claude bills ANTHROPIC_API_KEY");
    }

    @Test
    @Order(11)
    void aSecondSandboxIsAClonePresentAtTheSameTimeWithOddDirectories() throws IOException {
        List<String> call = new ArrayList<>(List.of("--memory", "1.5", "odd"));
        for (Path dir : odd()) {
            Files.createDirectories(dir);
            World.write(dir.resolve("in.txt"), dir.getFileName() + "\n");
            call.addAll(call.size() - 1, List.of("--mount", dir + ":w"));
        }
        call.addAll(List.of(odd().get(0).toString(), "pwd"));
        call.subList(call.indexOf("--mount"), call.indexOf("--mount") + 2).clear(); // the first one is DIR
        sandbox(Duration.ofMinutes(25), call.toArray(String[]::new)).exits(0).out(odd().get(0) + "\n")
                .errHas("cloning base-").errLacks("base is built");
        oddDirectoriesWork();
        docker("odd").exits(0).outHas("Containers");
        demo("true").exits(0);
        String hosts = "cat /etc/machine-id; cut -d ' ' -f 2 /etc/ssh/ssh_host_ed25519_key.pub";
        assertFalse(demo("sh", "-c", hosts).exits(0).out().equals(
                sandbox(Duration.ofMinutes(2), "odd", "sh", "-c", hosts).exits(0).out()),
                "a clone with its sister's identity");
    }

    @Test
    @Order(12)
    void oddDirectoriesSurviveARestart() throws IOException {
        limactl("stop", "demo").exits(0);
        restarted("odd", "sh", "-c", "ls /run/sandbox/fast || journalctl -b -o cat -u sandbox-boot;"
                + " sudo journalctl -b -o cat _PID=1 | grep 'Reload requested.*sandbox-boot-finish'; true")
                .out("/run/sandbox/fast\n");
        // What was left out, and that nothing is missing for it.
        sandbox(Duration.ofMinutes(4), "odd", "sh", "-c",
                "systemctl show -p Result --value systemd-udev-trigger; systemctl list-units --failed -q --no-legend;"
                        + " sudo tac /var/log/cloud-init-output.log | sed '/left out.* running/q' |"
                        + " sed -n 's,.*Executing .*/boot.Linux/\\(..\\).*,\\1,p' | sort | xargs;"
                        + " grep -c host.lima.internal /etc/hosts; sudo iptables -t nat -S LIMADNS | grep -c DNAT;"
                        + " resolvectl mdns eth0; stat -c '%a %G' /dev/fuse /dev/net/tun /dev/ttyS0;"
                        + " systemctl is-active lima-guestagent; sudo ls /mnt/lima-cidata/boot.Linux | wc -l")
                .exits(0).out("""
                        exec-condition
                        06 07 09 26
                        1
                        2
                        Link 2 (eth0): yes
                        666 root
                        666 root
                        660 dialout
                        active
                        21
                        """);
        oddDirectoriesWork();
        sandbox(Duration.ofMinutes(4), "odd", "sh", "-c",
                "timeout 200 sh -c 'until systemctl --user -q is-active docker.service; do sleep 2; done' && echo up")
                .exits(0).out("up\n");
    }

    /** One directory less is something new for the guest. */
    @Test
    @Order(13)
    void aMachineThatIsToldSomethingNewIsBootedByCloudInit() {
        limactl("stop", "odd").exits(0);
        limactl("edit", "--tty=false", "--set", "del(.mounts[0])", "odd").exits(0);
        sandbox(Duration.ofMinutes(20), "odd", "sh", "-c",
                "ls /run/sandbox/fast 2>/dev/null; sudo ls -A /var/lib/sandbox/kept; stat -c %G /dev/tty1").exits(0)
                .out("scripts\nstate\ntty\n");
    }

    @Test
    @Order(14)
    void aSnapshotRollsTheDiskBackByBothMethods() {
        booted("demo", "sh", "-c", "echo one > ~/state; sync").exits(0);
        verb("snapshot", "create", "demo", "s1").exits(0).errHas("stopping demo", "booting demo");
        demo("sh", "-c", "cat ~/state; echo two > ~/state; sync").exits(0).out("one\n");
        verb("stop", "demo").exits(0);
        verb("snapshot", "create", "demo", "c1", "--method", "copy").exits(0).errLacks("booting");
        verb("snapshot", "apply", "demo", "s1").exits(0).errHas("before-apply");
        booted("demo", "sh", "-c", "cat ~/state; docker info >/dev/null && echo docker").exits(0)
                .out("one\ndocker\n");
        verb("stop", "demo").exits(0);
        verb("snapshot", "apply", "demo", "c1").exits(0);
        verb("snapshot", "list", "-q", "demo").exits(0).outHas("s1", "c1", "before-apply");
    }

    @Test
    @Order(15)
    void aCloneOfASnapshotLeavesItsSourceAsItIsAndIsEdited() {
        verb("clone", "demo", "tagged", "--tag", "s1", "--memory", "1.5").exits(0);
        booted("tagged", "cat", "/home/" + System.getProperty("user.name") + ".guest/state").exits(0).out("one\n");
        booted("demo", "sh", "-c", "cat ~/state").exits(0).out("two\n");
        verb("edit", "tagged", "--unmount", project.toString(), "--memory", "1.25").exits(0)
                .errHas("stopping tagged", "booting tagged", "1.3 GiB memory", "mounts: none");
        verb("list", "tagged", "--json").exits(0).outHas("\"memory\" : 1342177280", "\"mounts\" : [ ]", "Running");
    }

    @Test
    @Order(16)
    void threeAreStoppedAtOnce() {
        verb("stop", "--all").exits(0).errHas("demo is stopped", "odd is stopped", "tagged is stopped");
        limactl("list", "--format", "{{.Status}}").exits(0).out("Stopped\nStopped\nStopped\nStopped\n");
    }

    @Test
    @Order(17)
    void deletionTakesAllButTheBase() {
        verb("delete", "odd", "tagged", "demo", "--yes").exits(0);
        verb("list").exits(0).out("");
        assertEquals("of the guest\n", World.read(project.resolve("from-guest.txt")));
        limactl("list", "-q").exits(0).outHas("base-");
    }

    /** While a base is built and in a session: whoever gets an answer came through the proxy and trusted it. */
    @Test
    @Order(18)
    void aProxyThatLooksIntoTlsIsPassedByAllClients() throws IOException {
        try (Interceptor proxy = new Interceptor(Files.createDirectories(root.resolve("proxy")))) {
            Path template = World.write(root.resolve("proxy/template.yaml"), "base: " + ENV.get("SANDBOX_TEMPLATE")
                    + "\nprovision:\n- mode: system\n  script: |\n"
                    + ("#!/bin/sh\ncat >/usr/local/bin/clients <<'END'\n" + Interceptor.CLIENTS + "END\n"
                            + "sh /usr/local/bin/clients >/var/log/clients.log 2>&1 ||"
                            + " { cat /var/log/clients.log; exit 1; }\n").indent(4));
            String[] call = {"--template", template.toString(), "--ca", proxy.certificate.toString(), "--mount-none",
                    "proxied", "sh", "-c", "cat /var/log/clients.log; docker pull docker.test/a; true"};
            sandbox(Duration.ofMinutes(40), proxy.environment(), call).exits(0)
                    .outHas(Interceptor.SEEN.toArray(String[]::new));
            assertTrue(proxy.asked.stream().anyMatch(a -> a.startsWith("docker.test/v2/")), proxy.asked.toString());
            sandbox(Duration.ofMinutes(5), "proxied", "sh", "-c", Interceptor.CLIENTS).exits(0)
                    .outHas(Interceptor.SEEN.toArray(String[]::new));
            limactl("delete", "-f", "proxied").exits(0);
        }
    }

    /** Every package of the template installed for real in a bare guest; once for each version of the template. */
    @Test
    @Order(19)
    void aBareGuestIsSetUpFromNothing() throws IOException {
        Cli.Result image = call(Duration.ofMinutes(20), Map.of(),
                List.of(World.CHECKOUT + "/testbed/image/build", "--bare")).exits(0);
        Path template = Path.of(image.out().strip());
        String version = hash(World.CHECKOUT.resolve("templates/agent-sandbox.yaml"));
        Path seen = template.resolveSibling("set-up-" + version);
        if (Files.exists(seen)) {
            System.out.println("A bare guest was set up with this very template before: " + World.read(seen).strip());
            return;
        }
        World.timeLeft(55);
        sandbox(Duration.ofMinutes(60), Map.of("SANDBOX_TEMPLATE", template.toString()), "--timeout", "55m",
                "--no-base",
                "--mount-none", "bare", "sh", "-c",
                "psql --version; yq --version; node --version; fd --version; docker info >/dev/null && echo docker")
                .exits(0)
                .outHas("(PostgreSQL) 18", "mikefarah", "docker");
        limactl("delete", "-f", "bare").exits(0);
        World.write(seen, java.time.Instant.now() + "\n");
    }

    private static List<Path> odd() {
        return Stream
                .of("a space", "com,ma", "co:lon", "quo'te", "dou\"ble", "ünïcode", "br[ack{et #1", "trailing ", "a: b")
                .map(root::resolve).toList();
    }

    private static void oddDirectoriesWork() {
        for (Path dir : odd()) {
            sandbox(Duration.ofMinutes(2), "odd", dir.toString(), "sh", "-c", "cat in.txt; echo back > out.txt")
                    .exits(0)
                    .out(dir.getFileName() + "\n");
            assertEquals("back\n", World.read(dir.resolve("out.txt")));
        }
    }

    private static void connect(int port) throws IOException {
        try (Socket s = new Socket()) {
            s.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 2000);
        }
    }

    private static List<String> argvs() throws IOException {
        List<String> all = new ArrayList<>();
        try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
            for (Path p : processes.filter(p -> p.getFileName().toString().matches("[0-9]+")).toList()) {
                try {
                    all.add(Files.readString(p.resolve("cmdline")));
                } catch (IOException e) {
                    // It has ended.
                }
            }
        }
        return all;
    }

    private static String hash(Path file) {
        return call(Duration.ofSeconds(20), Map.of(), List.of("sha256sum", file.toString())).exits(0).out().substring(0,
                12);
    }

    private static Cli.Result docker(String name) {
        return call(Duration.ofMinutes(1), Map.of(), List.of("curl", "-sS", "--unix-socket",
                lima.resolve(name).resolve("sock/docker.sock").toString(), "http://docker/system/df"));
    }

    private static Cli.Result demo(String... command) {
        List<String> words = new ArrayList<>(List.of("demo"));
        words.addAll(List.of(command));
        return sandbox(Duration.ofMinutes(3), words.toArray(String[]::new));
    }

    /** The same with time for a boot. */
    private static Cli.Result booted(String... words) {
        return sandbox(Duration.ofMinutes(20), words);
    }

    /**
     * Stops a sandbox and runs the command in it, until a start needed one boot only: an emulated guest's kernel crashes
     * in about one boot of fifteen, and a boot that did not end is followed by one of cloud-init.
     */
    private static Cli.Result restarted(String name, String... command) {
        List<String> words = new ArrayList<>(List.of(name));
        words.addAll(List.of(command));
        for (int left = 3;; left--) {
            limactl("stop", name).exits(0);
            Cli.Result result = booted(words.toArray(String[]::new)).exits(0);
            if (left == 1 || !result.err().contains("is booted once more")) {
                return result;
            }
        }
    }

    private static Cli.Result verb(String... words) {
        return sandbox(Duration.ofMinutes(20), words);
    }

    private static Cli.Result sandbox(Duration limit, String... words) {
        return sandbox(limit, Map.of(), words);
    }

    private static Cli.Result sandbox(Duration limit, Map<String, String> env, String... words) {
        return start(env, words).type(new byte[0]).ends(limit);
    }

    private static Cli.Running start(Map<String, String> env, String... words) {
        List<String> command = new ArrayList<>(List.of(SANDBOX.toString()));
        command.addAll(List.of(words));
        return Cli.start(project, with(env), command);
    }

    private static Cli.Result limactl(String... words) {
        List<String> command = new ArrayList<>(List.of("limactl"));
        command.addAll(List.of(words));
        return call(Duration.ofMinutes(10), Map.of(), command);
    }

    private static Cli.Result call(Duration limit, Map<String, String> env, List<String> command) {
        return Cli.start(root, with(env), command).type(new byte[0]).ends(limit);
    }

    private static Map<String, String> with(Map<String, String> more) {
        Map<String, String> all = new TreeMap<>(ENV);
        all.putAll(more);
        return all;
    }
}
