package dev.limasandbox.testbed;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** doctor: each case that it knows is broken on purpose, is found, and is well again when it was mended. */
class DoctorTest {
    private static final String ARCH = System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64";

    private static World world;
    private static Path project;
    private static Path faults;
    private static HttpServer server;
    private static String url;
    private static int computers;

    @BeforeAll
    static void sandbox() throws IOException {
        world = World.shared();
        project = world.project("doc");
        World.write(project.resolve("file"), "text");
        faults = world.lima.resolve("_faults");
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", DoctorTest::answer);
        server.start();
        url = "http://127.0.0.1:" + server.getAddress().getPort() + "/";
    }

    /** It runs, with nothing of an earlier test in it, and asks no proxy. */
    @BeforeEach
    void runs() {
        world.at(project).run("doc", "sh", "-c",
                "rm -f ~/.npm-global/bin/*; echo 'noproxy = \"*\"' >~/.curlrc").exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("doc");
        server.stop(0);
    }

    @AfterEach
    void noFault() {
        World.write(faults, "");
    }

    // --- helpers ---

    private static Cli.Result doctor(String... words) {
        return doctor(world.at(project), words);
    }

    private static Cli.Result doctor(Cli cli, String... words) {
        List<String> all = new ArrayList<>(List.of("doctor", "--url", url));
        all.addAll(List.of(words));
        return cli.run(all.toArray(String[]::new));
    }

    /** It found something: its words are all there, wherever its lines were broken. */
    private static Cli.Result finds(Cli.Result result, String... texts) {
        String all = result.exits(1).out().replaceAll("\\s+", " ");
        for (String text : texts) {
            assertTrue(all.contains(text), () -> "lacks '" + text + "'; " + result);
        }
        return result;
    }

    /** The checks of the sandbox that found something. */
    private static List<String> troubles(String... words) {
        List<String> all = new ArrayList<>(List.of(words));
        all.add("--json");
        JsonNode rows = Target.json(doctor(all.toArray(String[]::new)).out());
        return StreamSupport.stream(rows.spliterator(), false).filter(r -> !r.path("well").asBoolean())
                .map(r -> (r.path("sandbox").asText() + " " + r.path("check").asText()).strip()).toList();
    }

    private static void well() {
        doctor("doc").exits(0).outHas("all is well: ").silent();
    }

    private static String inGuest(String script) {
        return world.run(project, "ssh", "-F", world.lima.resolve("doc/ssh.config").toString(), "-S", "none", "-o",
                "LogLevel=ERROR", "lima-doc", script);
    }

    /** A program that comes before the guest's own. */
    private static void guestProgram(String name, String script) {
        inGuest("mkdir -p ~/.npm-global/bin; cat >~/.npm-global/bin/" + name + " <<'END'\n#!/bin/sh\n" + script
                + "\nEND\nchmod +x ~/.npm-global/bin/" + name);
    }

    private static void restart() {
        world.limactl("stop", "-f", "doc");
        world.at(project).run("doc", "true").exits(0);
    }

    /** Another computer, with Lima and QEMU, and nothing of Lima's made yet. */
    private static Programs computer() {
        Programs programs = new Programs(world.root.resolve("computer" + computers++));
        programs.script("limactl", "case $1 in --version) echo 'limactl version 2.2.0' ;; esac");
        programs.script("qemu-system-" + ARCH, "cat >/dev/null");
        return programs.idle("qemu-img");
    }

    private static Cli on(Programs computer) {
        return world.at(project).env("PATH", computer.path()).env("LIMA_HOME", world.root + "/none");
    }

    // --- this computer ---

    @Test
    void anOldMacWithoutHomebrewAndLima() {
        assumeTrue(!Files.exists(Path.of("/opt/homebrew/bin/brew")) && !Files.exists(Path.of("/usr/local/bin/brew")));
        Programs mac = computer().computer("Darwin", "arm64").script("sw_vers", "echo 12.7.1")
                .without("limactl", "qemu-img", "qemu-system-" + ARCH);
        finds(doctor(on(mac)), "system: this is macOS 12.7.1", "need macOS 13 or newer",
                "homebrew: there is no Homebrew", "https://brew.sh", "lima: Lima is not installed",
                "sandbox lima-install",
                "3 of 13 checks").outLacks("programs", "kvm");
        mac.script("sw_vers", "echo 13.0").idle("brew").script("limactl", "echo 'limactl version 2.2.0'");
        finds(doctor(on(mac).env("LIMA_HOME", world.root + "/none")), "limactl does not tell");
        mac.script("limactl", "case $1 in --version) echo 'limactl version 2.2.0' ;; esac");
        doctor(on(mac)).exits(0);
        // On such a computer the sandbox of this world is a slow one.
        finds(doctor(world.at(project).env("PATH", mac.without("limactl").bin + ":" + world.environment().get("PATH")),
                "doc"), "doc: slow-mount: its mounts are slow: qemu with", "--vm-type vz doc DIR");
    }

    @Test
    void limaTooOldQemuMissingKvmUnusableAndRoot() {
        Programs linux = computer().computer("Linux", "x86_64");
        doctor(on(linux)).exits(0).silent();
        linux.script("limactl", "echo 'limactl version 1.2.2'");
        finds(doctor(on(linux)), "lima-version: Lima 1.2.2 (" + linux.bin + "/limactl) is too",
                "sandbox lima-install");
        linux.script("limactl", "case $1 in --version) echo 'limactl version 2.2.0' ;; esac");
        linux.script("qemu-system-" + ARCH, "echo 'Could not access KVM kernel module' >&2; exit 1");
        finds(doctor(on(linux)), "kvm: ", "/dev/kvm", "emulates the processor, several times slower")
                .outHas("1 of 13 checks");
        doctor(on(linux).env("QEMU_SYSTEM_" + ARCH.toUpperCase(java.util.Locale.ROOT),
                "qemu-system-" + ARCH + " -machine q35,accel=tcg")).exits(0);
        linux.without("qemu-system-" + ARCH, "qemu-img");
        finds(doctor(on(linux)), "programs: qemu-system-" + ARCH + ", qemu-img is not installed")
                .outLacks("kvm: ");
        finds(doctor(on(computer().computer("FreeBSD", "amd64").uid(0))), "root: you are root",
                "system: this is FreeBSD");
    }

    @Test
    void aListThatFailsAHomeTooLongAndAFullDisk() {
        World.write(faults, "list:fail");
        finds(doctor(), "lima-list: limactl does not tell of its instances: limactl list failed");
        World.write(faults, "");
        String deep = world.root + "/" + "d".repeat(60 - world.root.toString().length() + 20);
        finds(doctor(on(computer()).env("LIMA_HOME", deep)), "path: the path of", deep, "is too long",
                "export LIMA_HOME=~/.l");
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/bwrap")));
        Path small = World.directory(world.root.resolve("small"));
        Map<String, String> environment = on(computer()).env("LIMA_HOME", small.toString()).environment();
        finds(Cli.start(project, environment,
                List.of("/usr/bin/bwrap", "--dev-bind", "/", "/", "--size", "9000000", "--tmpfs",
                        small.toString(), "--", World.CHECKOUT + "/sandbox", "doctor"))
                .ends(Duration.ofMinutes(1)), "space: 0.0 GiB are free where", "trim --all --docker");
    }

    @Test
    void moreMemoryForRunningMachinesThanThereIs() {
        Path yaml = world.lima.resolve("doc/lima.yaml");
        String before = World.read(yaml);
        World.write(yaml, before.replaceFirst("(?m)^memory:.*$", "memory: 9000GiB"));
        finds(doctor(), "memory: it is short of memory: 9000.", "edit NAME --memory 2");
        World.write(yaml, before);
        assertEquals(List.of(), troubles());
    }

    // --- an instance, from outside ---

    @Test
    void whatIsHalfMade() {
        Path dir = World.directory(world.lima.resolve("half"));
        World.write(dir.resolve("disk"), "part of it");
        try {
            finds(doctor("half", "--fix"), "half: half-made: " + dir + " has no lima.yaml", "rm -rf " + dir)
                    .silent();
            assertEquals(List.of("half half-made"), troubles());
            World.write(world.lima.resolve("_sandbox/locks/half.lock"), "clone half 2147480000 1700000000000");
            finds(doctor("half"), "half: unfinished: a clone was interrupted", "doctor half --fix",
                    "--fix mends 1");
            assertTrue(Files.exists(dir));
            doctor("half", "--fix").exits(0).errHas("what the interrupted clone had made is removed");
            assertFalse(Files.exists(dir));
            assertEquals(List.of(), troubles());
        } finally {
            Sh.remove(dir);
            Sh.remove(world.lima.resolve("_sandbox/locks/half.lock"));
        }
    }

    @Test
    void aBrokenOneWhoseMachineRunsIsLeftAndOneWhoseMachineIsGoneIsCleared() {
        Cli.Running session = world.at(project).start("doc", "sh", "-c", "echo began; read line; echo \"$line\"");
        session.awaitOut("began");
        Cli.signal("KILL", pid("ha.pid"));
        finds(doctor("doc", "--fix"), "doc: broken: Lima calls it broken: its host agent is gone",
                "sandbox restart doc").errHas("not mended: its machine runs, and a session may be in it");
        session.type("alive\n".getBytes(UTF_8)).ends(Duration.ofSeconds(20)).exits(0).out("began\nalive\n");
        world.at(project).run("restart", "doc").exits(0);
        well();

        long agent = pid("ha.pid");
        Cli.signal("STOP", agent);
        Cli.signal("KILL", pid("qemu.pid"));
        doctor("doc", "--fix").exits(0).errHas("doc: broken: what was left of its processes is cleared; it is stopped");
        assertEquals("Stopped", world.status("doc"));
    }

    private static long pid(String file) {
        return Long.parseLong(World.read(world.lima.resolve("doc").resolve(file)).strip());
    }

    @Test
    void aPausedOneGoesOn() {
        world.limactl("snapshot", "apply", "doc", "--tag", "nosuch");
        finds(doctor("doc"), "doc: paused: its machine is paused (paused)", "doctor doc --fix");
        doctor("doc", "--fix").exits(0).errHas("doc: paused: its machine goes on");
        assertEquals("on", inGuest("echo on"));
    }

    @Test
    void aStoppedOneWithACrashAPortADirectoryANameAndAStartAgainstIt() throws IOException {
        world.limactl("stop", "doc");
        Path docker = World.write(world.lima.resolve("doc/sock/docker.sock"), "");
        World.write(world.lima.resolve("doc/qmp.sock"), "");
        finds(doctor("doc"), "doc: stale: ", "qmp.sock, sock/docker.sock", "--fix mends 1");
        doctor("doc", "--fix").exits(0).errHas("doc: stale: what was left of its processes is removed");
        assertFalse(Files.exists(docker));

        Path twin = world.lima.resolve("t" + "w".repeat(70) + "n");
        int port = freePort();
        world.at(project).run("ports", "doc", "--add", port + ":80", "--keep").exits(0);
        try (ServerSocket taken = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
            Files.move(project, project.resolveSibling("moved"));
            finds(doctor(world.cli(), "doc"), "doc: port: its port " + port + " is taken by another program",
                    "sandbox ports doc --remove " + port, "doc: mount-gone: " + project + ", which it mounts, is",
                    "--unmount " + project);
            World.directory(twin);
            Files.copy(world.lima.resolve("doc/lima.yaml"), twin.resolve("lima.yaml"));
            finds(doctor(world.cli(), twin.getFileName().toString()),
                    ": name: its name is too long for the sockets",
                    "sandbox rename " + twin.getFileName() + " SHORTER", "its port " + port + " is kept for doc, too");
        } finally {
            Sh.remove(twin);
            if (Files.exists(project.resolveSibling("moved"))) {
                Files.move(project.resolveSibling("moved"), project);
            }
        }
        assertEquals(List.of(), troubles());
        world.at(project).run("ports", "doc", "--remove", "" + port).exits(0);

        World.write(faults, "driver:fail");
        world.at(project).run("doc", "true").exits(125);
        World.write(faults, "");
        finds(doctor("doc"), "doc: start: its last start did not get through: stand-in: driver fails",
                "sandbox start doc", "sandbox snapshot create doc before-reset", "sandbox reset doc", "(an update)");
        world.at(project).run("start", "doc").exits(0);
        well();
    }

    private static int freePort() throws IOException {
        try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return any.getLocalPort();
        }
    }

    @Test
    void aDeadForwardOfDockersSocket() {
        String master = world.run(project, "pgrep", "-f", "doc/ssh.config -o LogLevel=ERROR -MNf lima-doc$").strip();
        master.lines().forEach(pid -> Cli.signal("KILL", Long.parseLong(pid)));
        World.await(20, "Docker is out of reach", () -> troubles().equals(List.of("doc docker-forward")));
        doctor("doc", "--fix").exits(0).errHas("doc: docker-forward: its Docker's socket is forwarded anew");
    }

    /** After a boot without cloud-init the daemon needs some seconds yet; an emulated one was taken for a dead forward. */
    @Test
    void aDockerThatIsBeingStartedIsNoDeadForward() throws InterruptedException {
        inGuest("pkill -STOP -f dockerd.p[l]");
        Cli.Running asked = world.at(project).start("doctor", "--url", url, "doc");
        Thread.sleep(13_000); // the way to it is waited for ten seconds
        inGuest("pkill -CONT -f dockerd.p[l]");
        asked.ends(Duration.ofMinutes(1)).exits(0).outHas("all is well");
    }

    // --- a sandbox, from inside ---

    @Test
    void itsSshDoesNotAnswer() {
        String sshd = world.run(project, "pgrep", "-f", "^[^ ]*sshd.* -D -e -f /mnt/lima-cidata/sshd_config");
        List<Long> ours = ProcessHandle.of(pid("qemu.pid")).orElseThrow().descendants().map(ProcessHandle::pid)
                .toList();
        sshd.lines().map(Long::parseLong).filter(ours::contains).forEach(pid -> Cli.signal("KILL", pid));
        finds(doctor("doc"), "doc: answer: it runs, but its ssh does not answer", "serial.log",
                "sandbox restart doc");
        restart();
        well();
    }

    @Test
    void aSetUpThatFailedShowsTheGuestsLogAndOneThatIsUnderWaySaysSo() {
        world.limactl("stop", "doc");
        World.write(faults, "start:script-fails");
        world.at(project).run("doc", "true").exits(125);
        World.write(faults, "");
        finds(doctor("doc"), "doc: failed: its set-up failed: packages: exit code 100",
                "E: no network, as the stand-in was told to", "limactl shell doc", "sandbox reset doc");
        restart();
        // A script that is none of the template's: only Lima tells of it (seen on 2.2.0).
        String log = "/var/log/cloud-init-output.log";
        inGuest("sudo -n cp " + log + " " + log
                + ".kept; printf '%s\\n' 'LIMA 10:00| Executing /mnt/x' 'the cheese is out'"
                + " 'LIMA 10:00| WARNING: Failed to execute /mnt/x' | sudo -n tee -a " + log + " >/run/sandbox/added");
        finds(doctor("doc"), "doc: failed: its set-up failed: /mnt/x", "the cheese is out why:");
        inGuest("sudo -n cp " + log + ".kept " + log);
        well();
        inGuest("mv /run/sandbox/ready /run/sandbox/later; echo 'installing packages' >/run/sandbox/phase");
        finds(doctor("doc"), "doc: setup: it is still being set up: installing packages").outLacks("docker:");
        inGuest("mv /run/sandbox/later /run/sandbox/ready");
        well();
    }

    @Test
    void dockerThatDoesNotRunIsStarted() {
        inGuest("pkill -f dockerd.p[l]");
        assertEquals(List.of("doc docker"), troubles("doc"));
        finds(doctor("doc"), "doc: docker: its Docker does not answer", "journalctl --user -u docker");
        doctor("doc", "--fix").exits(0).errHas("doc: docker: its Docker is started");
    }

    @Test
    void aMountThatIsNotThere() {
        Path lost = World.write(world.project("with a blank").resolve("file"), "").getParent();
        world.limactl("stop", "doc");
        String yaml = World.read(world.lima.resolve("doc/lima.yaml"));
        world.limactl("edit", "doc", "--tty=false", "--set", ".mounts += [{\"location\": \"" + lost + "\"}]");
        inGuestOfFirstBoot(() -> finds(doctor("doc"), "doc: mount: " + lost, "is missing in it",
                "sandbox restart doc"));
        World.write(world.lima.resolve("doc/lima.yaml"), yaml);
    }

    /** With such a mount a second boot gives no ssh. */
    private static void inGuestOfFirstBoot(Runnable work) {
        Sh.remove(world.lima.resolve("_standin/doc/disk/var/lib/standin-booted"));
        world.limactl("start", "doc");
        work.run();
        world.limactl("stop", "-f", "doc");
    }

    @Test
    void whatElseGoesWrongWithin() {
        world.run(project, "git", "init", "-q");
        inGuest("echo >/etc/gitconfig"); // where sandbox has its mounts trusted
        guestProgram("git", "GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec /usr/bin/git \"$@\"");
        guestProgram("date", "case \" $* \" in *' -s '*) rm \"$0\" ;; *) echo $(($(/bin/date +%s) - 150)) ;; esac");
        guestProgram("journalctl", "echo '[1] Out of memory: Killed process 7 (node) total-vm:1kB'");
        guestProgram("df", "echo 'Filesystem 1024-blocks Used Available'; echo '/dev/vda1 10485760 10000000 485760'");
        finds(doctor(world.at(project).env("TERM", "zz-none"), "."),
                "doc: git: git in it refuses " + project + ": dubious ownership",
                "git config --global --add safe.directory",
                "doc: clock: its clock is 1", "s behind",
                "doc: killed: it ran out of memory: Killed process 7 (node)", "sandbox edit doc --memory 8",
                "doc: disk: its disk is nearly full: 474 MiB of 10 GiB are left", "sandbox trim doc --docker",
                "doc: terminal: it does not know your terminal, zz-none", "sandbox ghostty-terminfo doc",
                "5 of 38 checks", "--fix mends 2");
        doctor(world.at(project), "doc", "--fix").exits(1).errHas("doc: git: its git trusts " + project + " now",
                "doc: clock: its clock is set").outHas("2 of 38 checks");
        inGuest("rm -f ~/.npm-global/bin/journalctl ~/.npm-global/bin/df");
        well();
        World.remove(project.resolve(".git"));
    }

    @Test
    void theWayToTheInternet() throws IOException, GeneralSecurityException {
        String name = url.replace("127.0.0.1", "inside.test");
        inGuest("echo 127.0.0.1 inside.test >>/etc/hosts");
        world.at(project).run("doctor", "doc", "--url", name).exits(0);
        inGuest("echo 127.0.0.1 localhost >/etc/hosts; rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 >/etc/resolv.conf");
        finds(world.at(project).run("doctor", "doc", "--url", name), "doc: dns: it finds no address", "inside.test",
                "nor does this computer", "ping proves", "cat /etc/resolv.conf");

        finds(world.at(project).run("doctor", "doc", "--url", "http://127.0.0.1:1/"),
                "doc: internet: it does not reach http://127.0.0.1:1/", "curl -I http://127.0.0.1:1/");

        try (ServerSocket refusing = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            Thread thread = new Thread(() -> refuse(refusing));
            thread.setDaemon(true);
            thread.start();
            inGuest("echo 'proxy = http://127.0.0.1:" + refusing.getLocalPort() + "' >~/.curlrc");
            finds(world.at(project).run("doctor", "doc", "--url", "https://curl.test/hello"),
                    "doc: proxy: its proxy does not let it through", "407", "sandbox restart doc");
        }
        inGuest("echo 'noproxy = \"*\"' >~/.curlrc");

        HttpsServer company = company();
        String looking = "https://127.0.0.1:" + company.getAddress().getPort() + "/";
        finds(world.at(project).run("doctor", "doc", "--url", looking), "doc: tls: it does not trust who answers",
                "Its certificate is by", "CN=The company", "SANDBOX_CA=company.pem");
        inGuest("cat >~/company.pem <<'END'\n" + World.read(world.root.resolve("company.pem")) + "END\n"
                + "echo \"cacert = $HOME/company.pem\" >>~/.curlrc");
        world.at(project).run("doctor", "doc", "--url", looking).exits(0);
        company.stop(0);
    }

    /** Answers by TLS with a certificate of its own making. */
    private static HttpsServer company() throws IOException, GeneralSecurityException {
        String store = world.root.resolve("company.p12").toString();
        for (String[] words : new String[][]{
                {"-genkeypair", "-alias", "ca", "-keyalg", "RSA", "-dname", "CN=The company", "-ext",
                        "san=ip:127.0.0.1"},
                {"-exportcert", "-alias", "ca", "-rfc", "-file", world.root.resolve("company.pem").toString()}}) {
            List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/keytool"));
            command.addAll(List.of(words));
            command.addAll(List.of("-keystore", store, "-storepass", "changeit", "-storetype", "PKCS12"));
            world.run(project, command.toArray(String[]::new));
        }
        KeyStore keys = KeyStore.getInstance(new File(store), "changeit".toCharArray());
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(keys, "changeit".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(managers.getKeyManagers(), null, null);
        HttpsServer company = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        company.setHttpsConfigurator(new HttpsConfigurator(context));
        company.createContext("/", DoctorTest::answer);
        company.start();
        return company;
    }

    private static void answer(HttpExchange exchange) throws IOException {
        exchange.sendResponseHeaders(200, -1);
        exchange.close();
    }

    private static void refuse(ServerSocket proxy) {
        while (!proxy.isClosed()) {
            try (Socket client = proxy.accept()) {
                byte[] head = new byte[2000];
                assertTrue(client.getInputStream().read(head) > 0);
                client.getOutputStream().write(
                        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".getBytes(UTF_8));
            } catch (IOException closed) {
                return;
            }
        }
    }

    // --- how it tells ---

    @Test
    void itTellsWhatItLookedAtAndRefusesClearly() {
        doctor().exits(0).outHas("this computer: root, system,", "doc: half-made,", "all is well: ").silent();
        JsonNode rows = Target.json(doctor("doc", "--json").exits(0).out());
        assertEquals(38, rows.size());
        assertEquals("{\"check\":\"root\",\"sandbox\":\"\",\"well\":true}", rows.get(0).toString());
        doctor(world.at(project), "doc").out().lines().forEach(l -> assertTrue(l.length() <= 80, l));
        doctor("nosuch").exits(2).errHas("no sandbox nosuch");
        doctor("a", "b").exits(2).errHas("Usage:", "doctor --help");
        doctor("--help").exits(0).outHas("Examples:", "--fix", "Exit codes: 0").out().lines()
                .forEach(l -> assertTrue(l.length() <= 80, l));
    }
}
