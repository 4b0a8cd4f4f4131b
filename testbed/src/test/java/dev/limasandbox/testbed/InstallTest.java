package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** lima-install on pretended computers, from a release server of this test's own. */
class InstallTest {
    private static final String LIMACTL = "#!/bin/sh\necho 'limactl version %s'\n";

    private Path root;
    private Path home;
    private Programs programs;
    private Releases releases;
    private Map<String, String> environment;

    @BeforeEach
    void aComputerWithoutLima() throws IOException {
        root = Files.createTempDirectory(Path.of("/tmp").toRealPath(), "li");
        home = World.directory(root.resolve("h"));
        programs = new Programs(root.resolve("b")).computer("Linux", "x86_64").uid(1000)
                .idle("qemu-system-x86_64", "qemu-img");
        releases = new Releases().release("2.2.0", "x86_64", LIMACTL.formatted("2.2.0"));
        environment = new LinkedHashMap<>(Map.of("HOME", home.toString(), "PATH", programs.path(), "LANG",
                "C.UTF-8", "SANDBOX_LIMA_RELEASES", releases.address()));
    }

    @AfterEach
    void away() {
        releases.close();
        World.remove(root);
    }

    private static List<String> command(String... words) {
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java",
                "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"),
                "dev.limasandbox.LimaInstall"));
        command.addAll(List.of(words));
        return command;
    }

    private Cli.Running start(String... words) {
        return Cli.start(home, environment, command(words));
    }

    private Cli.Result run(String... words) {
        return start(words).type(new byte[0]).ends(Duration.ofSeconds(60)).out("");
    }

    /** Everything below the home directory; links with what they point to. */
    private List<String> files() {
        try (Stream<Path> all = Files.walk(home)) {
            return all.filter(p -> !p.equals(home)).map(p -> home.relativize(p)
                    + (Files.isSymbolicLink(p) ? " -> " + link(p) : "")).sorted().toList();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static Path link(Path p) {
        try {
            return Files.readSymbolicLink(p);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private void leavesNothing(Cli.Result result, String... words) {
        result.exits(125).errHas(words).errLacks("Exception", "\tat ");
        assertEquals(List.of(), files());
    }

    // --- Lima's release ---

    @Test
    void installsTheReleaseThatItsDigestProves() {
        run("--yes").exits(0).errHas("missing: limactl\n",
                releases.address() + "/v2.2.0/lima-2.2.0-Linux-x86_64.tar.gz",
                "SHA256SUMS", "installed: Lima 2.2.0", "not on your PATH", "export PATH=\"$HOME/.local/bin:$PATH\"");
        assertEquals(List.of(".local", ".local/bin", ".local/bin/lima -> ../opt/lima-2.2.0/bin/lima",
                ".local/bin/limactl -> ../opt/lima-2.2.0/bin/limactl", ".local/libexec",
                ".local/libexec/lima -> ../opt/lima-2.2.0/libexec/lima", ".local/opt",
                ".local/opt/lima-2.2.0", ".local/share",
                ".local/share/lima -> ../opt/lima-2.2.0/share/lima"),
                files().stream().filter(f -> !f.startsWith(".local/opt/lima-2.2.0/")).toList());
        assertEquals("agent of 2.2.0",
                World.read(home.resolve(".local/share/lima/lima-guestagent.Linux-x86_64.gz")));
        // Once more: nothing to do, nothing fetched.
        int before = releases.asked.size();
        run().exits(0).errHas("nothing is missing: Lima 2.2.0 (" + home.resolve(".local/bin/limactl") + ")");
        assertEquals(before, releases.asked.size());
    }

    @Test
    void anotherDirectoryVersionAndProcessor() {
        programs.computer("Linux", "aarch64").idle("qemu-system-aarch64");
        releases.release("2.1.4", "aarch64", LIMACTL.formatted("2.1.4"));
        run("--yes", "--dir", "~/my tools", "--version", "v2.1.4").exits(0).errHas("lima-2.1.4-Linux-aarch64.tar.gz");
        assertEquals("../opt/lima-2.1.4/bin/limactl", link(home.resolve("my tools/bin/limactl")).toString());
    }

    @Test
    void onThePathThereIsNoHint() {
        environment.put("PATH", home.resolve(".local/bin") + ":" + environment.get("PATH"));
        run("--yes").exits(0).errLacks("export PATH");
    }

    @Test
    void aWrongDigestLeavesNothing() {
        releases.file("2.2.0", "SHA256SUMS", "f".repeat(64) + "  lima-2.2.0-Linux-x86_64.tar.gz\n");
        leavesNothing(run("--yes"), "is not what its release says", "f".repeat(64), "Nothing was installed");
    }

    @Test
    void aFileWithoutALineInTheSumsLeavesNothing() {
        releases.file("2.2.0", "SHA256SUMS", "f".repeat(64) + "  lima-2.2.0-Linux-aarch64.tar.gz\n");
        leavesNothing(run("--yes"), "SHA256SUMS has no line for lima-2.2.0-Linux-x86_64.tar.gz");
        assertFalse(releases.asked.toString().contains("tar.gz"), "not even fetched");
    }

    @Test
    void aDownloadThatBreaksOffLeavesNothing() {
        releases.truncated = ".tar.gz";
        leavesNothing(run("--yes"), "could not be fetched", "broke off", "Nothing was installed");
    }

    @Test
    void whatTheServerDoesNotHaveLeavesNothing() {
        leavesNothing(run("--yes", "--version", "2.9.9"), "/v2.9.9/SHA256SUMS could not be fetched", "404",
                "is it a release of Lima");
        releases.file("2.2.0", "lima-2.2.0-Linux-x86_64.tar.gz", (byte[]) null);
        leavesNothing(run("--yes"), "tar.gz could not be fetched", "404");
    }

    @Test
    void withoutANetworkNothingIsLeft() throws IOException {
        try (ServerSocket nobody = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            environment.put("SANDBOX_LIMA_RELEASES", "http://127.0.0.1:" + nobody.getLocalPort());
        }
        leavesNothing(run("--yes"), "could not be fetched", "Is there a network", "HTTPS_PROXY");
        environment.put("SANDBOX_LIMA_RELEASES", "http://lima.invalid");
        leavesNothing(run("--yes"), "could not be fetched", "Is there a network");
    }

    @ParameterizedTest
    @ValueSource(strings = {"exit 1", "echo 'limactl version 2.1.0'", "echo broken >&2; exit 127"})
    void aLimactlThatDoesNotRunHereLeavesNothing(String script) {
        releases.release("2.2.0", "x86_64", "#!/bin/sh\n" + script + "\n");
        leavesNothing(run("--yes"), "does not run here");
    }

    @Test
    void anArchiveThatIsSomethingElseLeavesNothing() {
        byte[] text = "no archive\n".getBytes(java.nio.charset.StandardCharsets.UTF_8);
        releases.file("2.2.0", "lima-2.2.0-Linux-x86_64.tar.gz", text).file("2.2.0", "SHA256SUMS",
                "0".repeat(64) + " *lima-2.2.0-Linux-x86_64.tar.gz\n");
        Cli.Result result = run("--yes");
        String digest = java.util.regex.Pattern.compile("SHA-256 is ([0-9a-f]{64})").matcher(result.err()).results()
                .map(m -> m.group(1)).findFirst().orElseThrow(() -> new AssertionError(result));
        releases.file("2.2.0", "SHA256SUMS", digest + " *lima-2.2.0-Linux-x86_64.tar.gz\n");
        leavesNothing(run("--yes"), "could not be unpacked");
    }

    @Test
    void anotherLimaIsReplacedOnlyAfterSayingSo() {
        World.executable(home.resolve(".local/bin/limactl"), LIMACTL.formatted("1.0.7"));
        World.write(home.resolve(".local/bin/mine"), "mine");
        World.write(home.resolve(".local/share/lima/old"), "old");
        List<String> before = files();
        run().exits(125).errHas("Lima 1.0.7 (" + home + "/.local/bin/limactl) is too old", "There is no terminal");
        run("--check").exits(125).errHas("would do: replace " + home + "/.local/bin/limactl, which is Lima 1.0.7");
        releases.truncated = ".tar.gz";
        run("--yes").exits(125);
        assertEquals(before, files());
        releases.truncated = "none";
        run("--yes").exits(0).errHas("to do: replace " + home + "/.local/bin/limactl, which is Lima 1.0.7");
        assertEquals("../opt/lima-2.2.0/share/lima", link(home.resolve(".local/share/lima")).toString());
        assertEquals("mine", World.read(home.resolve(".local/bin/mine")));
        assertFalse(files().toString().contains(".lima-install"), files().toString());
    }

    @Test
    void whatCannotBePutInPlaceChangesNothing() throws IOException {
        World.executable(home.resolve(".local/bin/limactl"), LIMACTL.formatted("1.0.7"));
        World.write(home.resolve(".local/libexec"), "a file where a directory belongs");
        List<String> before = files();
        run("--yes").exits(125).errLacks("\tat ");
        assertEquals(before, files().stream().filter(f -> !f.matches("\\.local/(opt|share)")).toList());
    }

    @Test
    void oneThatComesFirstOnThePathIsNamed() {
        programs.script("limactl", "echo limactl version 1.2.3");
        environment.put("PATH", environment.get("PATH") + ":" + home.resolve(".local/bin"));
        run("--yes").exits(0).errHas("Lima 1.2.3", "comes before it on your PATH");
    }

    @Test
    void theDownloadGoesThroughTheProxy() {
        environment.put("SANDBOX_LIMA_RELEASES", "http://lima.invalid/releases/");
        environment.put("HTTP_PROXY", "http://127.0.0.1:" + releases.port());
        run("--yes").exits(0);
        assertTrue(releases.asked.contains("http://lima.invalid/releases/v2.2.0/SHA256SUMS"),
                releases.asked.toString());
        // With wget, which knows the small names only.
        programs.without("curl");
        World.remove(home.resolve(".local"));
        if (Files.exists(programs.bin.resolve("wget"))) {
            run("--yes").exits(0);
        }
    }

    @Test
    void noProxyIsKept() {
        environment.put("HTTP_PROXY", "http://127.0.0.1:1");
        environment.put("NO_PROXY", "127.0.0.1");
        run("--yes").exits(0);
    }

    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143"})
    void interruptedItLeavesNothing(String signal, int code) {
        releases.stuck = ".tar.gz";
        Cli.Running running = start("--yes");
        World.await(30, "the archive is being fetched", () -> files().toString().contains(".tar.gz"));
        running.signal(signal).type(new byte[0]).ends(Duration.ofSeconds(20)).exits(code);
        assertEquals(List.of(), files());
    }

    @Test
    void whatAKillLeftIsGoneAfterTheNextCall() {
        releases.stuck = ".tar.gz";
        Cli.Running running = start("--yes");
        World.await(30, "the archive is being fetched", () -> files().toString().contains(".tar.gz"));
        running.process.descendants().forEach(ProcessHandle::destroyForcibly);
        running.signal("KILL").type(new byte[0]).ends(Duration.ofSeconds(20));
        assertFalse(Files.exists(home.resolve(".local/bin")));
        releases.stuck = "none";
        run("--yes").exits(0);
        assertFalse(files().toString().contains(".lima-install"), files().toString());
    }

    // --- what it says and asks ---

    @Test
    void checkOnlySays() {
        programs.without("qemu-system-x86_64", "qemu-img", "ssh").idle("apt-get");
        run("--check").exits(125).errHas("missing: limactl, qemu-system-x86_64, qemu-img, ssh\n",
                "would do: sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-system-x86 ovmf"
                        + " qemu-utils openssh-client\n",
                "would do: fetch " + releases.address());
        assertEquals(List.of(), files());
        assertFalse(programs.calls().contains("apt-get"), programs.calls());
        programs.idle("qemu-system-x86_64", "qemu-img", "ssh").script("limactl", "echo limactl version 2.0.1");
        run("--check").exits(0).errHas("nothing is missing: Lima 2.0.1");
    }

    @Test
    void onATerminalItAsks() {
        try (Terminal terminal = new Terminal(root, home, environment, command())) {
            terminal.await("Do it? [y/N]").type("n").press("Enter").await("not done").exits(125);
        }
        assertEquals(List.of(), files());
        try (Terminal terminal = new Terminal(root, home, environment, command())) {
            terminal.await("Do it? [y/N]").type("y").press("Enter").await("installed: Lima 2.2.0").exits(0);
        }
    }

    @ParameterizedTest
    @CsvSource({"--version, 1.2.1", "--version, latest", "--version, ../../x", "--nonsense, x"})
    void usage(String option, String value) {
        run(option, value).exits(2).errHas(option.equals("--version") ? value : "--nonsense");
    }

    @Test
    void helpHasExamples() {
        start("--help").type(new byte[0]).ends(Duration.ofSeconds(60)).exits(0).silent().outHas("Examples:", "--check",
                "SANDBOX_LIMA_RELEASES", "HTTPS_PROXY");
    }

    // --- packages ---

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "dnf|x86_64|dnf install -y qemu-system-x86-core edk2-ovmf qemu-img",
            "dnf|aarch64|dnf install -y qemu-system-aarch64-core edk2-aarch64 qemu-img",
            "apt-get|aarch64|apt-get install -y --no-install-recommends qemu-system-arm ipxe-qemu qemu-efi-aarch64"
                    + " qemu-utils",
            "pacman|x86_64|pacman -S --needed --noconfirm qemu-system-x86 edk2-ovmf qemu-img",
            "zypper|aarch64|zypper --non-interactive install qemu-arm qemu-uefi-aarch64 qemu-tools",
            "apk|x86_64|apk add qemu-system-x86_64 ovmf qemu-img"})
    void everyDistributionHasItsNames(String manager, String machine, String line) {
        programs.without("qemu-system-x86_64", "qemu-img").computer("Linux", machine).idle(manager);
        run("--check").exits(125).errHas("sudo " + line + "\n");
    }

    @Test
    void packagesAreInstalledBySudo() {
        programs.without("qemu-system-x86_64", "qemu-img").sudo().script("apt-get", "case $1 in install) printf '"
                + "#!/bin/sh\\n' | tee \"${0%/*}/qemu-img\" > \"${0%/*}/qemu-system-x86_64\"; chmod +x \"${0%/*}\"/qemu-*;;"
                + " esac; echo apt-get writes to stdout");
        run("--yes").exits(0).errHas("+ sudo -n apt-get update\n",
                "+ sudo -n apt-get install -y --no-install-recommends qemu-system-x86 ovmf qemu-utils\n",
                "apt-get writes to stdout", "installed: Lima 2.2.0");
        assertTrue(programs.calls().contains("apt-get install -y --no-install-recommends qemu-system-x86"),
                programs.calls());
    }

    @Test
    void packagesThatDoNotBringQemuAreNotBelieved() {
        programs.without("qemu-system-x86_64").sudo().idle("dnf").script("limactl", "echo limactl version 2.2.0");
        run("--yes").exits(125).errHas("did not bring qemu-system-x86_64");
        programs.script("dnf", "echo no such package >&2; exit 1");
        run("--yes").exits(125).errHas("no such package", "'dnf install -y qemu-system-x86-core edk2-ovmf' failed");
    }

    @Test
    void withoutSudoItPrintsTheLineAndInstallsLima() {
        programs.without("qemu-img").idle("apt-get");
        run("--yes").exits(125).errHas("installed: Lima 2.2.0", "no sudo", "Type this as root",
                "\n  apt-get update && apt-get install -y --no-install-recommends qemu-utils\n");
        assertTrue(Files.exists(home.resolve(".local/bin/limactl")));
        programs.script("sudo", "echo sudo: a password is required >&2; exit 1");
        run("--yes").exits(125).errHas("sudo wants a password", "\n  sudo apt-get update && sudo apt-get install");
        assertFalse(programs.calls().contains("apt-get install"), programs.calls());
    }

    @Test
    void whatTheDownloadNeedsComesWithThePackages() {
        programs.without("curl", "wget").sudo().idle("apt-get");
        run("--check").exits(125).errHas("missing: limactl\n",
                "install -y --no-install-recommends curl ca-certificates\n");
    }

    @Test
    void theProxysPasswordIsOnNoCommandLine() {
        environment.put("HTTPS_PROXY", "http://me:secret@127.0.0.1:1");
        programs.without("qemu-img").sudo().script("dnf", "echo dnf got $https_proxy; echo > ${0%/*}/qemu-img;"
                + " chmod +x ${0%/*}/qemu-img").script("limactl", "echo limactl version 2.2.0");
        run("--yes").exits(0).errHas("dnf got http://me:secret@");
        assertTrue(programs.calls().contains("--preserve-env=https_proxy"), programs.calls());
        assertFalse(programs.calls().contains("secret"), programs.calls());
    }

    @Test
    void anUnknownDistributionIsTold() {
        programs.without("qemu-img");
        run("--yes").exits(125).errHas("No package manager is known here", "qemu-img");
    }

    @Test
    void rootGetsPackagesOnly() {
        programs.uid(0).without("qemu-img").script("apk", "echo > ${0%/*}/qemu-img; chmod +x ${0%/*}/qemu-img");
        run("--yes").exits(125).errHas("+ apk add qemu-img", "Lima refuses to run as root", "ordinary user")
                .errLacks("sudo");
        leavesNothing(run("--yes"), "Lima refuses to run as root");
    }

    @Test
    void otherSystemsAreRefused() {
        programs.computer("FreeBSD", "amd64");
        run("--yes").exits(125).errHas("not on FreeBSD");
        programs.computer("Linux", "riscv64");
        run("--yes").exits(125).errHas("not for riscv64");
    }

    // --- macOS ---

    @Test
    void onAMacHomebrewDoesIt() {
        programs.computer("Darwin", "arm64").without("qemu-system-x86_64", "qemu-img").script("brew",
                "printf '#!/bin/sh\\necho limactl version 2.2.0\\n' > ${0%/*}/limactl; chmod +x ${0%/*}/limactl");
        run("--check").exits(125).errHas("missing: limactl\n", "would do: brew install lima\n");
        run("--yes").exits(0).errHas("+ ", "brew install lima", "installed: Lima 2.2.0");
        run("--yes").exits(0).errHas("nothing is missing");
        assertEquals(1, programs.calls().split("brew install lima", -1).length - 1, programs.calls());
    }

    @Test
    void withoutHomebrewItSaysHowToGetIt() {
        programs.computer("Darwin", "arm64");
        run("--yes").exits(125).errHas("Homebrew is missing", "https://brew.sh", "brew install lima");
    }

    // --- by the launcher ---

    @Test
    void theLauncherPassesItOn() {
        World world = World.fresh();
        world.cli().env("SANDBOX_LIMA_RELEASES", releases.address()).run("lima-install", "--check")
                .errHas("Lima 2.2.0");
        world.close();
    }
}
