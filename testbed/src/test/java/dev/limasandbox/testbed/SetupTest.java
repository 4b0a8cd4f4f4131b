package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A computer on which Lima, QEMU or KVM is missing or another than expected: sandbox on the stand-in. */
class SetupTest {
    /** Calls the stand-in, whose guests see the programs of the real PATH only. */
    private static final String STAND_IN = "PATH='" + System.getenv("PATH") + ":/usr/sbin:/sbin' exec '"
            + World.CHECKOUT.resolve("testbed/bin/limactl") + "' \"$@\"";
    private static final Path QEMU = World.CHECKOUT.resolve("testbed/qemu");
    private static final String ARCH = System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64";
    private static final String VARIABLE = ARCH.equals("aarch64") ? "QEMU_SYSTEM_AARCH64" : "QEMU_SYSTEM_X86_64";

    private World world;
    private Path project;
    private Programs programs;

    @BeforeEach
    void aComputer() {
        world = World.fresh();
        project = world.project("a");
        programs = new Programs(world.root.resolve("b"));
    }

    @AfterEach
    void away() {
        world.close();
    }

    private void lima() {
        programs.script("limactl", STAND_IN);
    }

    private void qemu() {
        for (String name : List.of("qemu-system-" + ARCH, "qemu-img")) {
            programs.script(name, "cat >/dev/null");
        }
    }

    /** A limactl that tells a version and fails at whatever it is asked to make. */
    private void limaOfVersion(String version) {
        programs.script("limactl", "case $1 in --version) echo 'limactl version " + version + "' ;; list) ;;"
                + " *) echo 'level=fatal msg=\"nothing is made here\"' >&2; exit 1 ;; esac");
    }

    private Cli cli() {
        return world.at(project).env("PATH", programs.path());
    }

    private Releases releases() {
        return new Releases().release("2.2.0", ARCH, "#!/bin/sh\n" + STAND_IN + "\n");
    }

    // --- Lima is missing ---

    @Test
    void withoutATerminalAMissingLimaIsNamed() {
        qemu();
        cli().run("a", "true").exits(125).out("").errHas("limactl was not found on the PATH",
                "https://lima-vm.io/docs/installation/", "testbed/try", "sandbox lima-install", "--yes");
        cli().run("--quiet", "a", "true").exits(125).errHas("limactl was not found");
        cli().run().exits(125).errHas("limactl was not found");
        cli().run("--yes", "stop", "a").exits(2).errHas("is a command's word");
        assertEquals("", programs.calls());
    }

    @Test
    void yesInstallsItAndGoesOn() {
        qemu();
        try (Releases releases = releases()) {
            cli().env("SANDBOX_LIMA_RELEASES", releases.address()).input("piped in")
                    .run("--yes", "--no-base", "a", "cat").exits(0).out("piped in")
                    .errHas("installed: Lima 2.2.0", "booting a");
        }
        assertTrue(Files.exists(world.home.resolve(".local/bin/limactl")));
        // It is not on the PATH, and found all the same.
        cli().run("a", "echo", "again").exits(0).out("again\n").errLacks("installed");
        world.stop("a");
        cli().run("a", "echo", "again").exits(0).out("again\n").errLacks("installed");
    }

    @Test
    void onATerminalItAsksAndGoesOn() {
        qemu();
        try (Terminal terminal = cli().terminal("--no-base", "a", "echo", "never")) {
            terminal.await("Lima is not installed. Install it now? [y/N]").await("would do: fetch").type("n")
                    .press("Enter").await("not done").exits(125);
        }
        assertFalse(Files.exists(world.home.resolve(".local")));
        try (Releases releases = releases();
                Terminal terminal = cli().env("SANDBOX_LIMA_RELEASES", releases.address())
                        .terminal("--no-base", "a", "echo", "in", "it")) {
            terminal.await("Install it now? [y/N]").type("y").press("Enter").await("in it").exits(0);
        }
    }

    @Test
    void aFailedInstallationIsTheEnd() {
        qemu();
        try (Releases releases = new Releases()) {
            cli().env("SANDBOX_LIMA_RELEASES", releases.address()).run("--yes", "a", "true").exits(125)
                    .errHas("could not be fetched", "it was not installed, see above");
        }
        assertFalse(Files.exists(world.home.resolve(".local")));
    }

    @Test
    void rootIsToldAtOnce() {
        programs.uid(0);
        cli().run("--yes", "a", "true").exits(125).out("").errHas("Lima refuses to run as root", "ordinary user")
                .errLacks("limactl was not found", "fetching");
        cli().run("--help").exits(0);
    }

    // --- QEMU is missing ---

    @Test
    void aMissingQemuIsNamedAndInstalled() {
        lima();
        cli().run("--no-base", "a", "true").exits(125).out("").errHas("qemu-system-" + ARCH + " and qemu-img were not"
                + " found on the PATH", "sandbox lima-install", "--yes");
        assertEquals(List.of(), world.instances());
        programs.sudo().script("apt-get", "case $1 in install) printf '#!/bin/sh\\ncat >/dev/null\\n' | tee"
                + " \"${0%/*}/qemu-img\" > \"${0%/*}/qemu-system-" + ARCH + "\"; chmod +x \"${0%/*}\"/qemu-*;; esac");
        cli().run("--yes", "--no-base", "a", "echo", "in it").exits(0).out("in it\n")
                .errHas("sudo -n apt-get install", "booting a");
        // A running sandbox needs none of it, a stopped one does.
        programs.without("qemu-img", "limactl");
        cli().run("a", "echo", "still").exits(0).out("still\n");
        world.stop("a");
        lima();
        cli().run("a", "true").exits(125).errHas("qemu-img was not found on the PATH");
    }

    // --- KVM ---

    @Test
    void withoutKvmQemuEmulates() {
        lima();
        qemu();
        programs.script("limactl",
                "[ \"$1\" != start ] || echo \"told $" + VARIABLE + "\" >> ${0%/*}/calls; " + STAND_IN);
        programs.script("qemu-system-" + ARCH, "echo 'qemu: no KVM for you' >&2; exit 134");
        Cli.Result first = cli().run("--no-base", "a", "true").exits(0).errHas("QEMU emulates the processor");
        assertEquals(1, first.err().split("emulates", -1).length - 1, first.err());
        assertTrue(programs.calls().contains("told qemu-system-" + ARCH + " -machine "
                + (ARCH.equals("aarch64") ? "virt" : "q35,vmport=off") + ",accel=tcg -cpu max\n"), programs.calls());
        assertTrue(programs.calls().contains("qemu-system-" + ARCH + " -machine "
                + (ARCH.equals("aarch64") ? "virt" : "q35") + ",accel=kvm -cpu host -S -display none -nodefaults"
                + " -monitor stdio\n"), programs.calls());
        // A running one is entered without asking QEMU.
        programs.without("calls");
        cli().run("a", "true").exits(0).silent();
        assertFalse(programs.calls().contains("qemu-system"), programs.calls());

        // What the user set himself counts.
        world.stop("a");
        programs.without("calls");
        cli().env(VARIABLE, "qemu-system-" + ARCH + " -cpu mine").run("a", "true").exits(0).errLacks("emulates");
        assertTrue(programs.calls().contains("told qemu-system-" + ARCH + " -cpu mine\n"), programs.calls());
        assertFalse(programs.calls().contains("accel=kvm"), programs.calls());

        // Where KVM works nothing is said and nothing set.
        world.stop("a");
        programs.without("calls");
        qemu();
        cli().run("a", "true").exits(0).errLacks("emulates");
        assertTrue(programs.calls().contains("told \n"), programs.calls());
        assertTrue(programs.calls().contains("accel=kvm"), programs.calls());
    }

    // --- Lima's version ---

    @ParameterizedTest
    @ValueSource(strings = {"1.2.1", "0.23.2"})
    void tooOldALimaIsRefused(String version) {
        qemu();
        limaOfVersion(version);
        cli().run("--yes", "a", "true").exits(125).out("").errHas("Lima " + version + " (" + programs.bin + "/limactl)",
                "2.0 or newer", "sandbox lima-install").errLacks("nothing is made here");
    }

    @ParameterizedTest
    @CsvSource({"2.3.0", "2.20.1", "<unknown>", "''"})
    void anUnknownLimaIsNamedAndUsed(String version) {
        qemu();
        limaOfVersion(version);
        cli().run("--no-base", "a", "true").exits(125).errHas(version, "untested", "nothing is made here");
    }

    @ParameterizedTest
    @ValueSource(strings = {"2.0.0", "2.2.0.m", "2.2.0-153-g183a60d7"})
    void knownLimasAreUsedSilently(String version) {
        qemu();
        limaOfVersion(version);
        cli().run("--no-base", "a", "true").exits(125).errHas("nothing is made here").errLacks("untested");
    }

    @Test
    void beforeLima22OneHalfMadeInstanceDoesNotSpoilTheRest() {
        lima();
        programs.script("qemu-system-" + ARCH, "cat >/dev/null");
        World.link(programs.bin.resolve("qemu-img"), Path.of(which("qemu-img")));
        World.directory(world.lima.resolve("half"));
        Cli old = cli().env("LIMA_STAND_IN_VERSION", "2.1.4");
        old.run("--no-base", "a", "echo", "first").exits(0).out("first\n").errLacks("untested");
        old.run("a", "echo", "second").exits(0).out("second\n");
        old.run().exits(2).errHas("a  Running");
        assertTrue(Files.isDirectory(world.lima.resolve("half")), "it may be somebody else's");
        World.remove(world.lima.resolve("half"));
        // Before 2.1 a disk lies on a base disk, by its whole path, which a clone keeps (seen on 2.0.3).
        world.stop("a");
        Path source = world.lima.resolve("a");
        world.run(source, "qemu-img", "create", "-q", "-f", "qcow2", "basedisk", "1M");
        world.run(source, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", source + "/basedisk",
                "diffdisk");
        cli().env("LIMA_STAND_IN_VERSION", "2.0.3").run("--from", "a", "b", "true").exits(0);
        assertTrue(world.run(world.lima.resolve("b"), "qemu-img", "info", "--output=json", "diffdisk")
                .contains("\"backing-filename\": \"basedisk\""));
    }

    private static String which(String program) {
        return java.util.Arrays.stream((System.getenv("PATH") + ":/usr/bin").split(":")).map(d -> d + "/" + program)
                .filter(p -> Files.isExecutable(Path.of(p))).findFirst().orElseThrow();
    }

    @Test
    void theStandInsQemuIsAsked() {
        assertTrue(Files.isExecutable(QEMU.resolve("qemu-system-" + ARCH)), QEMU.toString());
        assertTrue(world.environment().get("PATH").contains(QEMU.toString()));
    }
}
