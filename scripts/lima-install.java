///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Installs what sandboxes need on this computer: Lima, and on Linux QEMU.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code lima-install}: says which programs are missing and installs them the official way. macOS: Homebrew. Linux: the
 * distribution's packages for QEMU, and Lima's own release, whose digest is compared. {@link #call()} tells the story.
 *
 * <p>It has no part of the text that other scripts share: that is for asking Lima, which is not there yet.
 */
@Command(
        name = "lima-install",
        sortOptions = false,
        customSynopsis = "lima-install [--yes] [--check] [--dir DIR] [--version X]%n",
        description = {
                "Installs what sandboxes need on this computer, after asking.",
                "",
                "On macOS that is Lima, by Homebrew. On Linux it is QEMU, by the distribution's",
                "packages and sudo, and Lima's own release, into ~/.local; its digest is compared",
                "with the SHA256SUMS of the same release. What is there already stays as it is.%n"
        },
        optionListHeading = "Options:%n",
        footer = {
                "",
                "HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE hold for the download. A mirror of the",
                "release pages is named by SANDBOX_LIMA_RELEASES (default:",
                LimaInstall.RELEASES + ").",
                "",
                "Examples:",
                "  lima-install                     says what is missing, asks, installs it",
                "  lima-install --check             only says what is missing",
                "  lima-install --yes               does not ask (in a script, in CI)",
                "  lima-install --version 2.1.4     another Lima than " + LimaInstall.LIMA,
                "",
                "Exit codes: 0 when nothing is missing (any more), 125 otherwise, 2 for usage."
        })
class LimaInstall implements Callable<Integer> {
    /** The release that this was tried with. */
    static final String LIMA = "2.2.0";

    static final String RELEASES = "https://github.com/lima-vm/lima/releases/download";

    @Option(names = {"-y", "--yes"}, description = "Install without asking.")
    boolean yes;

    @Option(names = "--check", description = "Only say what is missing and what would be done.")
    boolean check;

    @Option(names = "--dir", paramLabel = "DIR", description = "Where Lima goes on Linux (default: ~/.local).")
    String dirOption;

    @Option(names = "--version", paramLabel = "X", description = "The release of Lima (default: " + LIMA + ").")
    String versionOption;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    private final Host host;
    private final Programs programs;

    LimaInstall(Host host) {
        this.host = host;
        this.programs = new Programs(host);
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        System.exit(run(Host.ofThisProcess(), args));
    }

    /**
     * Runs one command line.
     *
     * @return the exit code; never throws for a failure of ours, which is told on {@code host.err}
     */
    static int run(Host host, String... args) {
        LimaInstall install = new LimaInstall(host);
        Thread hook = new Thread(install.programs::close); // what was started does not go on after a Ctrl-C
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            return new CommandLine(install).setOut(host.out).setErr(host.err)
                    .setParameterExceptionHandler((e, a) -> {
                        host.say(e.getMessage());
                        host.say("'lima-install --help' tells more");
                        return 2;
                    })
                    .setExecutionExceptionHandler((e, l, p) -> {
                        if (!(e instanceof Failure failure)) {
                            throw e;
                        }
                        host.say(failure.getMessage());
                        return failure.code;
                    }).execute(args);
        } finally {
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException shuttingDown) {
                hook.setName("is running");
            }
        }
    }

    /** What this computer is, what it lacks, what is done about it. */
    @Override
    public Integer call() {
        String version = version();
        Path dir = directory();
        Optional<Limactl> there = Limactl.find(programs, dir);
        return switch (programs.said("uname", "-s")) {
            case "Darwin" -> onMac(there);
            case "Linux" -> onLinux(there, dir, version);
            default -> throw new Failure("Lima runs on macOS and Linux, not on " + programs.said("uname", "-s"));
        };
    }

    private String version() {
        String version = versionOption == null ? LIMA : versionOption.replaceFirst("^v", "");
        if (!version.matches("[0-9]+[.][0-9]+[.][0-9]+([-.][A-Za-z0-9.]+)?")) {
            throw new Failure(2, "--version takes a release of Lima, as in " + LIMA + ", not '" + versionOption + "'");
        }
        if (Limactl.tooOld(version)) {
            throw new Failure(2, "--version " + version + ": sandboxes need Lima 2.0 or newer");
        }
        return version;
    }

    private Path directory() {
        String typed = dirOption == null ? "~/.local" : dirOption;
        return host.cwd.resolve(typed.equals("~") || typed.startsWith("~/") ? host.home() + typed.substring(1) : typed)
                .normalize();
    }

    // ---------------------------------------------------------------------------------------------------------- macOS

    private int onMac(Optional<Limactl> there) {
        if (there.isPresent() && !there.get().tooOld()) {
            return nothingIsMissing(there.get());
        }
        List<String> call = List.of("brew", there.isPresent() ? "upgrade" : "install", "lima");
        host.say(there.map(l -> l + " is too old").orElse("missing: limactl"));
        refuseRoot();
        String brew = Stream.of("brew", "/opt/homebrew/bin/brew", "/usr/local/bin/brew").filter(programs::has)
                .findFirst().orElseThrow(() -> new Failure("Lima comes by Homebrew on macOS, and Homebrew is missing."
                        + " How to get it: https://brew.sh\nThen: brew install lima"));
        if (versionOption != null) {
            host.say("Homebrew has one version of Lima, its newest: --version does nothing here");
        }
        if (!confirmed(List.of(String.join(" ", call)))) {
            return 125;
        }
        List<String> run = new ArrayList<>(call);
        run.set(0, brew);
        if (programs.show(run) != 0) {
            throw new Failure("'" + String.join(" ", call) + "' failed, see above");
        }
        Limactl now = Limactl.find(programs, Path.of(brew).resolveSibling("..").normalize())
                .orElseThrow(() -> new Failure("Homebrew installed Lima, but no limactl can be found"));
        host.say("installed: " + now);
        hintAtPath(now.path.getParent());
        return 0;
    }

    // ---------------------------------------------------------------------------------------------------------- Linux

    private int onLinux(Optional<Limactl> there, Path dir, String version) {
        String machine = programs.said("uname", "-m").replace("arm64", "aarch64").replace("amd64", "x86_64");
        if (!Set.of("x86_64", "aarch64").contains(machine)) {
            throw new Failure("Lima has releases for x86_64 and aarch64, not for " + machine);
        }
        boolean wanted = there.isEmpty() || there.get().tooOld()
                || versionOption != null && !there.get().version.equals(version);
        Release release = new Release(host, programs, version, machine, dir);
        List<String> missing = Packages.missing(programs, machine);
        if (!wanted && missing.isEmpty()) {
            return nothingIsMissing(there.get());
        }
        List<String> lacks = new ArrayList<>(missing);
        if (there.isEmpty()) {
            lacks.add(0, "limactl");
        }
        if (!lacks.isEmpty()) {
            host.say("missing: " + String.join(", ", lacks));
        }
        there.filter(Limactl::tooOld).ifPresent(l -> host.say(l + " is too old; sandboxes need 2.0 or newer"));
        boolean root = programs.root();
        boolean download = wanted && !root;
        if (download) {
            missing.addAll(Release.toolsMissing(programs));
        }
        Packages packages = missing.isEmpty() ? null : Packages.of(host, programs, machine, missing);
        List<String> plan = new ArrayList<>();
        if (packages != null) {
            plan.add(packages.line());
        }
        if (download) {
            plan.addAll(release.plan());
        }
        if (root && plan.isEmpty()) {
            refuseRoot();
        }
        if (!confirmed(plan)) {
            return 125;
        }
        return install(packages, download ? release : null, root && wanted);
    }

    /** Packages first, as the download may need one. What can be done is done: where sudo cannot be had, Lima itself. */
    private int install(Packages packages, Release release, boolean asRoot) {
        Failure refused = null;
        if (packages != null) {
            try {
                packages.install();
            } catch (Failure e) {
                if (release == null || !Release.toolsMissing(programs).isEmpty()) {
                    throw e;
                }
                refused = e;
            }
        }
        if (release != null) {
            release.install();
            hintAtPath(release.dir.resolve("bin"));
        }
        if (refused != null) {
            throw refused;
        }
        if (asRoot) {
            refuseRoot();
        }
        return 0;
    }

    private int nothingIsMissing(Limactl there) {
        host.say("nothing is missing: " + there);
        if (programs.root()) {
            host.say("but Lima refuses root: use it as an ordinary user");
        }
        return 0;
    }

    private void refuseRoot() {
        if (programs.root()) {
            throw new Failure("Lima refuses to run as root. Install and use it as an ordinary user,"
                    + " with this same command (to become one: su - NAME)");
        }
    }

    /** Shows what would be done; true if it is to be done. */
    private boolean confirmed(List<String> plan) {
        plan.forEach(line -> host.say((check ? "would do: " : "to do: ") + line));
        if (check || yes) {
            return !check;
        }
        if (!host.terminal) {
            throw new Failure("There is no terminal to ask on: --yes does it without asking.");
        }
        host.err.print("lima-install: Do it? [y/N] ");
        host.err.flush();
        if (!host.line().strip().toLowerCase(Locale.ROOT).matches("y|yes")) {
            throw new Failure("not done");
        }
        return true;
    }

    private void hintAtPath(Path bin) {
        boolean on = Arrays.stream(host.env.getOrDefault("PATH", "").split(":")).anyMatch(bin.toString()::equals);
        String first = programs.which("limactl").orElse("");
        if (!on) {
            String told = bin.startsWith(host.home()) ? "$HOME/" + host.home().relativize(bin) : bin.toString();
            host.say(bin + " is not on your PATH. sandbox finds Lima in ~/.local/bin all the same; for yourself add to "
                    + (host.env.getOrDefault("SHELL", "").endsWith("zsh") ? "~/.zprofile" : "~/.profile")
                    + ":\n  export PATH=\"" + told + ":$PATH\"");
        } else if (!first.isEmpty() && !first.equals(bin.resolve("limactl").toString())) {
            host.say(first + " comes before it on your PATH: remove that one, or put " + bin + " first");
        }
    }

    // ------------------------------------------------------------------------------------------------------- packages

    /** The distribution's packages that hold what is missing, and the command that installs them. */
    static final class Packages {
        /** A package manager, its command, and the names of its packages; those of QEMU come with the firmware. */
        private record Manager(String program, String install, String x86, String arm, String img, String ssh) {}

        /**
         * The firmware is where Lima looks for it (comments in its qemu.go name these packages). Debian's QEMU for arm
         * only recommends ipxe-qemu, without which it has no network card.
         */
        private static final List<Manager> MANAGERS = List.of(
                new Manager("apt-get", "apt-get install -y --no-install-recommends", "qemu-system-x86 ovmf",
                        "qemu-system-arm ipxe-qemu qemu-efi-aarch64", "qemu-utils", "openssh-client"),
                new Manager("dnf", "dnf install -y", "qemu-system-x86-core edk2-ovmf",
                        "qemu-system-aarch64-core edk2-aarch64", "qemu-img", "openssh-clients"),
                new Manager("pacman", "pacman -S --needed --noconfirm", "qemu-system-x86 edk2-ovmf",
                        "qemu-system-aarch64 edk2-aarch64", "qemu-img", "openssh"),
                new Manager("zypper", "zypper --non-interactive install", "qemu-x86 qemu-ovmf-x86_64",
                        "qemu-arm qemu-uefi-aarch64", "qemu-tools", "openssh-clients"),
                new Manager("apk", "apk add", "qemu-system-x86_64 ovmf", "qemu-system-aarch64 aavmf", "qemu-img",
                        "openssh-client"));

        private final Host host;
        private final Programs programs;
        private final List<String> missing;
        private final List<List<String>> commands = new ArrayList<>();

        private Packages(Host host, Programs programs, List<String> missing) {
            this.host = host;
            this.programs = programs;
            this.missing = missing;
        }

        /** The programs that Lima calls and that are not here. QEMU may be another one by Lima's own variable. */
        static List<String> missing(Programs programs, String machine) {
            String told = programs.env("QEMU_SYSTEM_" + machine.toUpperCase(Locale.ROOT)).strip();
            String qemu = told.isEmpty() ? "qemu-system-" + machine : told.split("\\s+")[0];
            return Stream.of(qemu, "qemu-img", "ssh").filter(p -> !programs.has(p))
                    .collect(Collectors.toCollection(ArrayList::new));
        }

        static Packages of(Host host, Programs programs, String machine, List<String> missing) {
            Packages packages = new Packages(host, programs, missing);
            Manager m = MANAGERS.stream().filter(p -> programs.has(p.program)).findFirst()
                    .orElseThrow(() -> new Failure("No package manager is known here (" + MANAGERS.stream()
                            .map(Manager::program).collect(Collectors.joining(", ")) + "): install "
                            + String.join(", ", missing) + " by hand, then the same command again"));
            Set<String> names = new LinkedHashSet<>();
            for (String program : missing) {
                names.addAll(List.of((switch (program) {
                    case "qemu-img" -> m.img;
                    case "ssh" -> m.ssh;
                    case "curl" -> "curl ca-certificates";
                    case "tar", "gzip" -> program;
                    default -> machine.equals("aarch64") ? m.arm : m.x86;
                }).split(" ")));
            }
            if (m.program.equals("apt-get")) { // a fresh Debian has no lists of packages
                packages.commands.add(List.of("apt-get", "update"));
            }
            packages.commands.add(Stream.concat(Stream.of(m.install.split(" ")), names.stream()).toList());
            return packages;
        }

        /** How a command of root's begins; nothing for root. The names of the proxy's variables pass, not their values. */
        private List<String> sudo() {
            if (programs.root()) {
                return List.of();
            }
            List<String> sudo = new ArrayList<>(List.of("sudo"));
            if (!host.terminal) {
                sudo.add("-n");
            }
            String proxies = Programs.PROXIES.stream().map(n -> n.toLowerCase(Locale.ROOT))
                    .filter(n -> !programs.env(n).isEmpty()).collect(Collectors.joining(","));
            if (!proxies.isEmpty()) {
                sudo.add("--preserve-env=" + proxies);
            }
            return sudo;
        }

        /** What would be typed at a terminal. */
        String line() {
            return line(programs.root() ? "" : "sudo ");
        }

        private String line(String before) {
            return commands.stream().map(c -> before + String.join(" ", c)).collect(Collectors.joining(" && "));
        }

        void install() {
            if (!programs.root() && !programs.has("sudo")) {
                throw new Failure("There is no sudo here. Type this as root, then the same command again:\n  "
                        + line(""));
            }
            if (!programs.root() && !host.terminal && programs.run(List.of("sudo", "-n", "true")).code != 0) {
                throw new Failure("sudo wants a password, and there is no terminal for it. Type this, then the same"
                        + " command again:\n  " + line());
            }
            for (List<String> command : commands) {
                int code = programs.show(Stream.concat(sudo().stream(), command.stream()).toList());
                if (code != 0 && !command.contains("update")) { // one dead repository of many is for apt-get to judge
                    throw new Failure("'" + String.join(" ", command) + "' failed (exit code " + code + "), see above");
                }
            }
            List<String> still = missing.stream().filter(p -> !programs.has(p)).toList();
            if (!still.isEmpty()) {
                throw new Failure("the packages are installed, but they did not bring " + String.join(", ", still));
            }
        }
    }

    // -------------------------------------------------------------------------------------------------------- release

    /** A limactl that is here. */
    record Limactl(Path path, String version) {
        private static final Pattern SAID = Pattern.compile("version v?([0-9]+[.][0-9]+\\S*)");

        /** The one on the PATH, else the one in DIR/bin; one that does not run is none. As root none tells its version. */
        static Optional<Limactl> find(Programs programs, Path dir) {
            return at(programs, programs.which("limactl").map(Path::of).orElse(dir.resolve("bin/limactl")));
        }

        static Optional<Limactl> at(Programs programs, Path path) {
            if (!programs.has(path.toString())) {
                return Optional.empty();
            }
            if (programs.root()) {
                return Optional.of(new Limactl(path, ""));
            }
            Matcher said = SAID.matcher(programs.run(List.of(path.toString(), "--version")).out);
            return said.find() ? Optional.of(new Limactl(path, said.group(1))) : Optional.empty();
        }

        boolean tooOld() {
            return tooOld(version);
        }

        static boolean tooOld(String version) {
            return version.matches("[01][.].*");
        }

        @Override
        public String toString() {
            return (version.isEmpty() ? "Lima" : "Lima " + version) + " (" + path + ")";
        }
    }

    /**
     * Lima's release for Linux: fetched, compared with its digest, tried, then put in place. It gets a directory of its
     * own, DIR/opt/lima-VERSION, that appears at once; DIR/bin, DIR/share/lima and DIR/libexec/lima are links into it.
     *
     * <p>curl fetches it, or wget: proxies with a password, NO_PROXY and a company's CA are set up for these, and Java's
     * own client knows neither such a proxy nor SSL_CERT_FILE. Where neither is, curl is one package more.
     */
    static final class Release {
        private final Host host;
        private final Programs programs;
        private final String version;
        private final String name;
        private final String from;
        final Path dir;

        Release(Host host, Programs programs, String version, String machine, Path dir) {
            this.host = host;
            this.programs = programs;
            this.version = version;
            this.dir = dir;
            this.name = "lima-" + version + "-Linux-" + machine + ".tar.gz";
            String base = host.env.getOrDefault("SANDBOX_LIMA_RELEASES", "");
            this.from = (base.isEmpty() ? RELEASES : base.replaceFirst("/+$", "")) + "/v" + version + "/";
        }

        /** What is needed to fetch and unpack it and is not here. */
        static List<String> toolsMissing(Programs programs) {
            List<String> missing = Stream.of("tar", "gzip").filter(p -> !programs.has(p)).collect(Collectors.toList());
            boolean wget = programs.has("wget") && programs.run(List.of("wget", "--version")).out.contains("GNU");
            if (!wget && !programs.has("curl")) {
                missing.add("curl");
            }
            return missing;
        }

        List<String> plan() {
            List<String> plan = new ArrayList<>(List.of("fetch " + from + name + " and put it into " + dir));
            Path old = dir.resolve("bin/limactl");
            if (Files.exists(old, LinkOption.NOFOLLOW_LINKS)) {
                plan.add("replace " + old + ", which is "
                        + Limactl.at(programs, old).map(l -> "Lima " + l.version).orElse("something else"));
            }
            return plan;
        }

        void install() {
            try (Staging staging = new Staging(dir)) {
                place(staging, unpack(staging, fetch(staging)));
            }
            host.say("installed: Lima " + version + " (" + dir.resolve("bin/limactl") + ")");
        }

        private Path fetch(Staging staging) {
            Path sums = download(staging, "SHA256SUMS");
            String expected = io(() -> Files.readAllLines(sums)).stream()
                    .map(l -> l.strip().split("\\s+[*]?(\\./)?", 2))
                    .filter(l -> l.length == 2 && l[1].equals(name) && l[0].matches("[0-9a-f]{64}"))
                    .map(l -> l[0]).findFirst().orElseThrow(() -> new Failure(
                            from + "SHA256SUMS has no line for " + name + ", so it cannot be checked. Nothing was"
                                    + " installed. Is it a release of Lima?"));
            Path archive = download(staging, name);
            String digest = sha256(archive);
            if (!digest.equals(expected)) {
                throw new Failure(name + " is not what its release says: its SHA-256 is " + digest
                        + ",\nand " + from + "SHA256SUMS says " + expected
                        + ".\nNothing was installed. Perhaps something on the way changed it, or the download broke"
                        + " off: try again.");
            }
            host.say("its SHA-256 is the one in the release's own SHA256SUMS, fetched with it: " + digest);
            return archive;
        }

        private Path download(Staging staging, String file) {
            Path to = staging.dir.resolve(file);
            host.say("fetching " + from + file);
            boolean curl = programs.has("curl");
            List<String> call = curl
                    ? List.of("curl", "-fSL", host.terminal ? "-#" : "-s", "--retry", "2", "--connect-timeout", "30",
                            "--speed-time", "60", "-o", to.toString(), from + file)
                    : List.of("wget", "-nv", "--tries=3", "--timeout=60", "-O", to.toString(), from + file);
            Result r = host.terminal && curl ? new Result(programs.show(call), "", "") : programs.run(call);
            if (r.code != 0) {
                throw new Failure(from + file + " could not be fetched (" + call.get(0) + ", exit code " + r.code + ")"
                        + (r.err.isBlank() ? "." : ": " + r.err.strip().replaceAll("(?s).*\n", "") + ".")
                        + " Nothing was installed.\n" + hint(curl, r.code));
            }
            return to;
        }

        /** What helps, by the exit codes in the manuals of curl and wget. */
        private static String hint(boolean curl, int code) {
            if (curl ? code == 22 : code == 8) {
                return "The server answered, but has no such file: is it a release of Lima, at the address above?";
            }
            if (curl ? Set.of(35, 51, 58, 60, 77, 83, 91).contains(code) : code == 5) {
                return "The server's certificate was not accepted. Behind a company's proxy SSL_CERT_FILE names its CA.";
            }
            if (curl && Set.of(18, 52, 55, 56).contains(code)) {
                return "The download broke off: try again.";
            }
            return curl && code == 23 ? "It could not be written: is the disk full?"
                    : "Is there a network? Behind a proxy HTTPS_PROXY has to be set.";
        }

        private static String sha256(Path file) {
            return io(() -> {
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                try (InputStream in = Files.newInputStream(file)) {
                    byte[] buffer = new byte[1 << 16];
                    for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                        digest.update(buffer, 0, n);
                    }
                }
                return HexFormat.of().formatHex(digest.digest());
            });
        }

        /** Unpacks the archive and runs its limactl, before anything is put in place. */
        private Path unpack(Staging staging, Path archive) {
            Path to = io(() -> Files.createDirectory(staging.dir.resolve("unpacked")));
            Result tar = programs.run(List.of("tar", "-xzf", archive.toString(), "-C", to.toString()));
            if (tar.code != 0) {
                throw new Failure(name + " could not be unpacked: " + tar.err.strip());
            }
            Path limactl = to.resolve("bin/limactl");
            if (!Files.isExecutable(limactl) || !Files.isDirectory(to.resolve("share/lima"))) {
                throw new Failure(
                        name + " is not laid out as a release of Lima: no bin/limactl or no share/lima in it");
            }
            Result said = programs.run(List.of(limactl.toString(), "--version"));
            if (said.code != 0 || !said.out.contains("limactl version " + version)) {
                throw new Failure("the limactl of this release does not run here, so it was not installed: "
                        + "'limactl --version' ended with exit code " + said.code + " and said: "
                        + (said.out + said.err).strip());
            }
            return to;
        }

        /** Everything that limactl needs first, limactl last: while that is missing nobody uses the rest. */
        private void place(Staging staging, Path unpacked) {
            List<Path> links = new ArrayList<>(List.of(Path.of("share/lima"), Path.of("libexec/lima")));
            links.removeIf(l -> !Files.exists(unpacked.resolve(l)));
            io(() -> {
                try (Stream<Path> bin = Files.list(unpacked.resolve("bin"))) {
                    return bin.map(p -> Path.of("bin").resolve(p.getFileName())).sorted().map(links::add).toList();
                }
            });
            links.remove(Path.of("bin/limactl"));
            links.add(Path.of("bin/limactl"));
            Path home = dir.resolve("opt/lima-" + version);
            staging.atOnce(() -> {
                staging.put(unpacked, home);
                for (Path link : links) {
                    Path made = staging.dir.resolve("link");
                    Files.createSymbolicLink(made, dir.resolve(link).getParent().relativize(home.resolve(link)));
                    staging.put(made, dir.resolve(link));
                }
                return null;
            });
        }
    }

    /**
     * A directory beside the place where things go; it is gone at the end, after a failure, Ctrl-C or a kill too. What a
     * kill -9 left there is removed by the next call.
     */
    static final class Staging implements AutoCloseable {
        private static final String NAME = ".lima-install-";

        final Path dir;
        private final Path place;
        /** The topmost directory that had to be made for the place; null if it was there. */
        private final Path made;
        private final Deque<Callable<?>> undo = new ArrayDeque<>();
        private final Thread hook = new Thread(this::end);
        private boolean ended;

        Staging(Path place) {
            this.place = place;
            Path top = null;
            for (Path p = place; p != null && !Files.isDirectory(p); p = p.getParent()) {
                top = p;
            }
            made = top;
            dir = place.resolve(NAME + ProcessHandle.current().pid());
            Runtime.getRuntime().addShutdownHook(hook);
            io(() -> {
                Files.createDirectories(place);
                try (Stream<Path> left = Files.list(place)) {
                    left.filter(p -> p.getFileName().toString().matches(Pattern.quote(NAME) + "[0-9]+"))
                            .filter(p -> p.equals(dir) || !alive(p)).forEach(Staging::remove);
                }
                return Files.createDirectory(dir);
            });
        }

        private static boolean alive(Path staging) {
            return ProcessHandle.of(Long.parseLong(staging.getFileName().toString().substring(NAME.length())))
                    .isPresent();
        }

        /** Runs work that puts things in place: to its end whatever is pressed, or, if it fails, with nothing changed. */
        synchronized void atOnce(Callable<?> work) {
            if (ended) {
                throw new Failure("interrupted");
            }
            try {
                io(work);
            } catch (Failure e) {
                for (Callable<?> step : undo) {
                    io(step);
                }
                throw e;
            }
        }

        /** Moves what was made to its place; what is there is kept aside until the end. */
        void put(Path from, Path to) throws IOException {
            Files.createDirectories(to.getParent());
            if (Files.exists(to, LinkOption.NOFOLLOW_LINKS)) {
                Path aside = dir.resolve("aside-" + undo.size());
                Files.move(to, aside);
                undo.push(() -> Files.move(aside, to));
            }
            Files.move(from, to);
            Path undone = dir.resolve("undone-" + undo.size());
            undo.push(() -> Files.move(to, undone));
        }

        private synchronized void end() {
            ended = true;
            for (int i = 0; Files.exists(dir) && i < 50; i++) { // a program that is being ended may still write there
                try {
                    remove(dir);
                } catch (Failure e) {
                    LockSupport.parkNanos(100_000_000L);
                }
            }
            for (Path p = place; made != null && p.startsWith(made); p = p.getParent()) {
                p.toFile().delete(); // only if it is empty
            }
        }

        @Override
        public void close() {
            end();
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException shuttingDown) {
                hook.setName("is running");
            }
        }

        private static void remove(Path tree) {
            io(() -> Files.walkFileTree(tree, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.deleteIfExists(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
                    Files.deleteIfExists(directory);
                    return FileVisitResult.CONTINUE;
                }
            }));
        }
    }

    // ------------------------------------------------------------------------------------------- programs, the caller

    /** Ends a call with a sentence for the user; the exit code is 125 for our own failures, 2 for usage. */
    static final class Failure extends RuntimeException {
        private static final long serialVersionUID = 1;
        final int code;

        Failure(int code, String message) {
            super(message);
            this.code = code;
        }

        Failure(String message) {
            this(125, message);
        }
    }

    /** What a finished process left. */
    record Result(int code, String out, String err) {}

    /** The programs of this computer, as the caller's environment finds them. */
    static final class Programs implements AutoCloseable {
        private static final List<String> PROXIES = List.of("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY");

        private final Host host;
        private final Map<String, String> env;
        private final Set<Process> running = ConcurrentHashMap.newKeySet();
        private Boolean root;

        Programs(Host host) {
            this.host = host;
            this.env = new TreeMap<>(host.env);
            for (String name : PROXIES) {
                if (env.containsKey(name)) { // wget knows the small ones only, curl does so for http_proxy
                    env.putIfAbsent(name.toLowerCase(Locale.ROOT), env.get(name));
                }
            }
        }

        String env(String name) {
            return env.getOrDefault(name, "");
        }

        /** Where a program is, by its name on the PATH or by its path. Java itself would look on its own PATH. */
        Optional<String> which(String program) {
            return (program.contains("/") ? Stream.of(program)
                    : Arrays.stream(env("PATH").split(":")).filter(d -> !d.isEmpty()).map(d -> d + "/" + program))
                    .filter(p -> Files.isExecutable(Path.of(p)) && !Files.isDirectory(Path.of(p))).findFirst();
        }

        boolean has(String program) {
            return which(program).isPresent();
        }

        boolean root() {
            if (root == null) {
                root = said("id", "-u").equals("0");
            }
            return root;
        }

        /** What a program that must succeed says on stdout. */
        String said(String... call) {
            Result r = run(List.of(call));
            if (r.code != 0) {
                throw new Failure(call[0] + " failed: " + r.err.strip());
            }
            return r.out.strip();
        }

        /** Runs a program out of sight. */
        Result run(List<String> call) {
            return io(() -> {
                Path out = Files.createTempFile("lima-install", ".out");
                Path err = Files.createTempFile("lima-install", ".err");
                try {
                    int code = wait(builder(call).redirectInput(new File("/dev/null")).redirectOutput(out.toFile())
                            .redirectError(err.toFile()));
                    return new Result(code, Files.readString(out), Files.readString(err));
                } finally {
                    Files.deleteIfExists(out);
                    Files.deleteIfExists(err);
                }
            });
        }

        /** Runs a program in sight, all that it writes on stderr; the terminal, if there is one, is its input. */
        int show(List<String> call) {
            host.say("+ " + String.join(" ", call));
            List<String> quiet = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >&2", "sh"));
            quiet.addAll(call);
            return io(() -> wait(builder(quiet).inheritIO().redirectInput(host.terminal
                    ? ProcessBuilder.Redirect.INHERIT
                    : ProcessBuilder.Redirect.from(new File("/dev/null")))));
        }

        private ProcessBuilder builder(List<String> call) {
            List<String> found = new ArrayList<>(call);
            found.set(0, which(call.get(0)).orElseThrow(() -> new Failure(call.get(0) + " is not on the PATH")));
            ProcessBuilder builder = new ProcessBuilder(found).directory(host.cwd.toFile());
            builder.environment().clear();
            builder.environment().putAll(env);
            return builder;
        }

        private int wait(ProcessBuilder builder) throws IOException, InterruptedException {
            Process process = builder.start();
            running.add(process);
            try {
                return process.waitFor();
            } finally {
                running.remove(process);
                process.destroy();
            }
        }

        /** Ends what still runs. */
        @Override
        public void close() {
            running.forEach(Process::destroy);
            running.forEach(p -> io(() -> p.waitFor(Duration.ofSeconds(2).toMillis(), TimeUnit.MILLISECONDS)));
        }
    }

    /** What the calling process gives us; everything that we say goes to stderr. */
    record Host(Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err, InputStream in,
            boolean terminal) {
        static Host ofThisProcess() {
            return new Host(System.getenv(), Path.of("").toAbsolutePath(), new PrintWriter(System.out, true, UTF_8),
                    new PrintWriter(System.err, true, UTF_8), System.in, terminals());
        }

        /** Are stdin and stderr terminals? Asked of a child, as System.console() does not tell about stderr. */
        private static boolean terminals() {
            return io(
                    () -> new ProcessBuilder("sh", "-c", "test -t 0 && test -t 2").inheritIO().start().waitFor() == 0);
        }

        Path home() {
            return Path.of(env.getOrDefault("HOME", "/"));
        }

        void say(String line) {
            err.println("lima-install: " + line);
            err.flush();
        }

        /** The next line of input; empty at its end. */
        String line() {
            return io(() -> {
                StringBuilder line = new StringBuilder();
                for (int c = in.read(); c >= 0 && c != '\n'; c = in.read()) {
                    line.append((char) c);
                }
                return line.toString();
            });
        }
    }

    /** Runs work that may fail with a checked exception, which becomes a sentence for the user. */
    static <T> T io(Callable<T> work) {
        try {
            return work.call();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Failure("interrupted");
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new Failure(e.getClass().getSimpleName().replace("Exception", "") + ": " + e.getMessage());
        }
    }
}
