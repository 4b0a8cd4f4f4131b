///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Says what is wrong with this computer's sandboxes, why, and what to do about it.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.URI;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiFunction;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code doctor [NAME]}: looks for every trouble that is known, and tells its cause and the way out. {@link #call()} tells
 * the story; {@link #ofThisComputer}, {@link #fromOutside} and {@link #fromInside} are the list of all that is looked for,
 * and below them stands how each is looked at and mended.
 */
@Command(
        name = "doctor",
        sortOptions = false,
        exitCodeOnExecutionException = 125,
        customSynopsis = "doctor [NAME] [--fix] [--json] [--url URL]%n",
        description = {
                "Says what is wrong with this computer and its sandboxes, why, and what to do.",
                "",
                "With NAME one sandbox is also looked at from the inside, if it runs: set-up,",
                "Docker, mounts, git, clock, memory, disk, terminal, network. Any other instance",
                "of Lima can be named, too.",
                "",
                "--fix does what ends no session and loses nothing, and says what it did: a",
                "paused machine goes on, a dead forward is made anew, what a crash left goes.%n"
        },
        footer = {
                "",
                "Examples:",
                "  doctor                   this computer and all sandboxes",
                "  doctor myapp             also the inside of myapp; '.' is this directory's",
                "  doctor myapp --fix",
                "  doctor myapp --url https://git.company.example",
                "",
                "Exit codes: 0 when all is well, 1 when something is not, 125 for failures of the",
                "doctor's own, 2 for usage."
        })
class Doctor implements Callable<Integer> {
    /** The oldest macOS with VZ's VirtioFS. */
    private static final int MACOS = 13;

    private static final long GIB = 1L << 30;

    @Parameters(paramLabel = "NAME", arity = "0..1", description = "The sandbox; '.' is this directory's.")
    String word;

    @Option(names = "--fix", description = "Mend what can be mended without ending or losing anything.")
    boolean fix;

    @Option(names = "--json", description = "All checks as JSON, those that are well too.")
    boolean json;

    @Option(names = "--url", paramLabel = "URL", defaultValue = "https://github.com",
            description = "What a sandbox has to reach (default: ${DEFAULT-VALUE}).")
    String url;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    private final Caller caller;
    private final Lima lima;
    private final Life life;

    Doctor(Caller caller) {
        this.caller = caller;
        lima = new Lima(caller.env);
        life = new Life(lima, phase -> {
            if (!phase.isEmpty()) {
                caller.say(phase);
            }
        });
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("doctor");
        System.exit(caller.run(new Doctor(caller), args));
    }

    /**
     * One case. {@code look} gives what is concerned (a directory, a port, a reason), each a finding of its own; nothing
     * when all is well. In the sentences {it} is that, {first} its first word, {name} the sandbox, and another script's
     * name in braces is how the caller types it.
     *
     * @param fix mends it and tells how; null where that would end or lose something, or is the user's to decide
     */
    private record Check(String name, String says, Function<Box, List<String>> look, String cause, String remedy,
            BiFunction<Box, String, String> fix) {
        Check(String name, String says, Function<Box, List<String>> look, String cause, String remedy) {
            this(name, says, look, cause, remedy, null);
        }
    }

    /** A check that was made, and what it found, if anything. */
    private record Finding(Check check, Box box, String it, boolean well) {
        String key() {
            return (box.name.isEmpty() ? "" : box.name + ": ") + check.name;
        }
    }

    /** What is found of one of these makes all further questions to that sandbox pointless. */
    private static final Set<String> LAST = Set.of("half-made", "unfinished", "broken", "paused", "answer", "failed");

    @Override
    public Integer call() {
        List<Finding> findings = examine(true);
        Map<String, String> done = new LinkedHashMap<>();
        if (fix) {
            findings.stream().filter(f -> !f.well && f.check.fix != null).forEach(f -> {
                try {
                    done.put(f.key(), f.check.fix.apply(f.box, f.it));
                } catch (Lima.Failure failure) {
                    done.put(f.key(), "not mended: " + failure.getMessage());
                }
                caller.say(f.key() + ": " + done.get(f.key()));
            });
            findings = done.isEmpty() ? findings : examine(false);
        }
        if (json) {
            caller.out.println(
                    findings.stream().map(f -> Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(row(f, done))))
                            .collect(Collectors.joining(",\n ", "[", "]")));
        } else {
            report(findings);
        }
        return findings.stream().allMatch(Finding::well) ? 0 : 1;
    }

    // --------------------------------------------------------------------------------------- all that is looked for

    private List<Check> ofThisComputer() {
        return List.of(
                new Check("root", "you are root", b -> bad(run("id", "-u").out().strip().equals("0"), ""),
                        "Lima refuses to run as root.",
                        "Use an ordinary user: su - USER"),
                new Check("system", "this is {it}", b -> system(),
                        "Lima and its VZ machines need macOS 13 or newer, or Linux.",
                        "Update it. On an older macOS QEMU works: brew install qemu,\nthen: {sandbox} --vm-type qemu NAME"),
                new Check("homebrew", "there is no Homebrew",
                        b -> bad(mac() && limaLacks() && Stream.of("brew", "/opt/homebrew/bin/brew",
                                "/usr/local/bin/brew").allMatch(this::missing), ""),
                        "On macOS Lima comes by Homebrew.",
                        "How to get it: https://brew.sh\nthen: {lima-install}"),
                new Check("lima", "Lima is not installed", b -> bad(missing("limactl"), ""),
                        "There is no limactl on the PATH, nor in ~/.local/bin.",
                        "{lima-install}"),
                new Check("lima-version", "{it} is too old", b -> bad(!missing("limactl") && tooOld(), version() + " ("
                        + lima.which("limactl") + ")"),
                        "Sandboxes need Lima 2.0 or newer.",
                        "{lima-install}"),
                new Check("lima-list", "limactl does not tell of its instances: {it}", b -> bad(listFailed != null,
                        listFailed),
                        "Something in LIMA_HOME ({home}) stops it.",
                        "limactl list --debug"),
                new Check("programs", "{it} is not installed", b -> programs(),
                        "Lima calls it.",
                        "{qemu-install}"),
                new Check("kvm", "there is no /dev/kvm", b -> kvm("none"),
                        "Without it QEMU emulates the processor, several times slower. Hardware virtualisation is"
                                + " switched off, or not given to this virtual machine.",
                        "Switch it on in the firmware (in a virtual machine: nested virtualisation),\n"
                                + "then: sudo modprobe kvm_intel || sudo modprobe kvm_amd"),
                new Check("kvm", "you may not use /dev/kvm", b -> kvm("forbidden"),
                        "You are not in its group. QEMU emulates the processor, several times slower.",
                        "sudo chgrp kvm /dev/kvm; sudo chmod g+rw /dev/kvm\n"
                                + "sudo usermod -aG kvm $USER      then log in again"),
                new Check("kvm", "/dev/kvm does not work: {it}", b -> kvm("broken"),
                        "It is there, and QEMU cannot use it: another hypervisor has the processor, or this is a"
                                + " container or a virtual machine without nested virtualisation. Sandboxes emulate the"
                                + " processor, several times slower.",
                        "End the other hypervisor, or allow nested virtualisation outside.\n"
                                + "For limactl alone: QEMU_SYSTEM_{ARCH}=\"qemu-system-{arch} {tcg}\""),
                new Check("memory", "it is short of memory: {it}", b -> memory(),
                        "All machines together may take more than there is; then this computer swaps, or ends one.",
                        "{sandboxes} stop NAME\n{sandboxes} edit NAME --memory 2\n"
                                + "for new ones: export SANDBOX_MEMORY=2"),
                new Check("space", "{it} are free where {home} lies", b -> space(),
                        "A machine whose disk cannot grow is paused by QEMU, or breaks.",
                        "{sandboxes} usage\n{sandboxes} trim --all --docker      removes what Docker does not use\n"
                                + "{sandboxes} delete --unused-bases\nlimactl prune      removes downloaded images"),
                new Check("path", "the path of {home} is too long", b -> bad(
                        lima.home.resolve("_sandbox/s/12345678").toString().length() > 85, ""),
                        "A Unix socket's path has 104 bytes at most on macOS, 108 on Linux.",
                        "export LIMA_HOME=~/.l      what is in the old one stays there"));
    }

    /** Of every sandbox and base, running or not, by what this computer has of it. */
    private List<Check> fromOutside() {
        return List.of(
                new Check("half-made", "{dir} has no lima.yaml", b -> bad(b.halfMade() && interrupted(b).isEmpty(), ""),
                        "An interrupted limactl create, clone or delete left it, and limactl itself refuses to delete"
                                + " it.",
                        "If no limactl works on it any more:\nrm -rf {quoted-dir}"),
                new Check("unfinished", "a {it} was interrupted", this::interrupted,
                        "Its process was killed, as our record of it tells. The next call on {name} clears up first.",
                        "{doctor} {name} --fix", this::settle),
                new Check("broken", "Lima calls it broken: {it}", this::broken,
                        "A process of it was killed, or the computer was switched off.",
                        "{sandboxes} restart {name}      stops it by force, if it must be", this::mend),
                new Check("paused", "its machine is paused ({it})", this::paused,
                        "A snapshot command on a running machine pauses it, and so does a disk of this computer that is"
                                + " full (io-error).",
                        "{doctor} {name} --fix      lets it go on", this::goOn),
                new Check("start", "its last start did not get through: {it}", this::startFailed,
                        "Lima, QEMU or the system changed under it (an update), or the boot was cut short.",
                        "{sandboxes} start {name}      tries again\n{snapshot} create {name} before-reset\n"
                                + "{sandboxes} reset {name}      makes it anew: all in it goes, the project stays"),
                new Check("stale", "it is stopped, and these files say that it runs: {it}", this::stale,
                        "A crash left them. Lima may take another process for its own, and clone fails.",
                        "{doctor} {name} --fix", (b, it) -> cleared(b)),
                new Check("name", "its name is too long for the sockets in {dir}", b -> bad(b.dir.resolve(
                        "ssh.sock.1234567890123456").toString().length() >= (mac() ? 104 : 108), ""),
                        "A Unix socket's path has 104 bytes at most on macOS, 108 on Linux.",
                        "{sandboxes} rename {name} SHORTER"),
                new Check("mount-gone", "{it}, which it mounts, is no directory here", b -> b.mounts().stream()
                        .filter(m -> !Files.isDirectory(m)).map(Path::toString).toList(),
                        "It was moved or deleted. Lima makes an empty one at the next start.",
                        "{sandboxes} edit {name} --unmount {quoted-it} --mount DIR:w"),
                new Check("slow-mount", "its mounts are slow: {it}", b -> bad(mac() && !b.mounts().isEmpty()
                        && !b.node.path("vmType").asText().equals("vz"),
                        b.node.path("vmType").asText() + " with "
                                + b.config.path("mountType").asText()),
                        "On macOS only VZ has VirtioFS. The type of a machine cannot be changed.",
                        "{sandboxes} delete {name}      then: {sandbox} --vm-type vz {name} DIR"),
                new Check("port", "its port {it}", this::ports,
                        "A port of 127.0.0.1 is one program's. The forward is missing then, and Lima only logs it.",
                        "{sandboxes} ports {name} --remove {first}\n"
                                + "{sandboxes} ports {name} --add OTHER:GUEST --keep"),
                new Check("docker-forward", "no answer from Docker at {it}", this::forward,
                        "Lima's forward dies with its ssh connection, and the socket's file stays.",
                        "{doctor} {name} --fix", this::forwardAnew));
    }

    /** Of one running sandbox, as its guest tells by {@link #GUEST}. */
    private List<Check> fromInside() {
        return List.of(
                new Check("answer", "it runs, but its ssh does not answer: {it}", said("answer"),
                        "Its guest hangs or boots, or its ssh was stopped.",
                        "What its console said last: {dir}/serial.log\n{sandboxes} restart {name}"),
                new Check("failed", "its set-up failed: {it}", said("failed"),
                        "A script of its template failed. Lima calls the machine ready all the same.",
                        "limactl shell {name}      to look around\n{sandboxes} restart {name}      tries again\n"
                                + "{sandboxes} reset {name}      makes it anew: all in it goes, the project stays"),
                new Check("setup", "it is still being set up: {it}", said("setup"),
                        "A first boot takes minutes; Docker and other commands come in its course.",
                        "{sandbox} {name}      waits, and shows how far it is\n"
                                + "limactl shell {name} tail -f /var/log/cloud-init-output.log"),
                new Check("docker", "its Docker does not answer: {it}", said("docker"),
                        "The daemon is not up yet, or it was stopped, or its settings are wrong.",
                        "{sandbox} {name} journalctl --user -u docker -n 20\n"
                                + "{sandbox} {name} systemctl --user restart docker",
                        this::startDocker),
                new Check("mount", "{it} is missing in it", said("mount"),
                        "It is mounted at the same path as here; the mount failed, or it is another path.",
                        "{sandboxes} list {name} --json      what it mounts\n{sandboxes} restart {name}"),
                new Check("git", "git in it refuses {it}: dubious ownership", said("git"),
                        "The files there belong to another user than the one in the sandbox.",
                        "{sandbox} {name} git config --global --add safe.directory {quoted-it}",
                        (b, it) -> inGuest(b, "git config --global --add safe.directory " + Lima.quote(it),
                                "its git trusts " + it + " now")),
                new Check("clock", "its clock is {it}", this::clock,
                        "It stood still while this computer slept. TLS and make go by it.",
                        "{doctor} {name} --fix",
                        (b, it) -> inGuest(b, "sudo -n date -s @" + Instant.now().getEpochSecond() + " >/dev/null",
                                "its clock is set by this computer's")),
                new Check("killed", "it ran out of memory: {it}", said("killed"),
                        "What it runs needs more than the machine has, and Linux killed the largest.",
                        "{sandboxes} edit {name} --memory 8"),
                new Check("disk", "its disk is nearly full: {it} are left", said("disk"),
                        "Docker's images and build caches are most of it, as a rule.",
                        "{sandbox} {name} docker system df\n{sandboxes} trim {name} --docker      removes what Docker"
                                + " does not use\n{sandboxes} edit {name} --disk 100"),
                new Check("terminal", "it does not know your terminal, {it}", said("terminal"),
                        "Without its terminfo entry programs draw garbage or refuse.",
                        "{ghostty-terminfo} {name}"),
                new Check("dns", "it finds no address: {it}", this::noAddress,
                        "Its resolver does not answer, or this computer's (VPN?). ping proves nothing either way: Lima's"
                                + " network may not pass it on.",
                        "{sandbox} {name} cat /etc/resolv.conf\n{sandboxes} restart {name}      after a change of"
                                + " network here"),
                new Check("proxy", "its proxy does not let it through: {it}", said("proxy"),
                        "It has the proxy that this computer had when it was started.",
                        "Set or unset http_proxy, https_proxy and no_proxy here, then:\n{sandboxes} restart {name}"),
                new Check("tls", "it does not trust who answers: {it}", said("tls"),
                        "Something between looks into TLS with certificates of its own, as companies' proxies do.",
                        "for new ones: export SANDBOX_CA=company.pem\nin this one: {sandbox} {name} sudo sh -c"
                                + " 'cat >/usr/local/share/ca-certificates/company.crt && update-ca-certificates'"
                                + " <company.pem"),
                new Check("internet", "it does not reach {url}: {it}", said("internet"),
                        "A firewall or VPN of this computer keeps it back, or the other side is down. ping proves"
                                + " nothing either way: Lima's network may not pass it on.",
                        "Here, for comparison: curl -I {url}"));
    }

    // ------------------------------------------------------------------------------------------------ asking, telling

    private List<JsonNode> instances = List.of();
    private String listFailed;
    /** What programs of this computer said, each asked once for a whole look. */
    private final Map<List<String>, Lima.Result> answers = new HashMap<>();
    /** The sandbox that is meant, once it is known: it may be gone after it was mended. */
    private String named;

    /** Makes all checks, once; what they have in common is asked for anew. */
    private List<Finding> examine(boolean first) {
        List<Finding> findings = new ArrayList<>();
        list();
        ofThisComputer().forEach(c -> findings.addAll(ask(c, new Box(Lima.Json.MAPPER.createObjectNode()))));
        if (word != null && first && !limaLacks() && listFailed == null) {
            named = caller.sandbox(word, instances).path("name").asText();
        }
        for (JsonNode instance : instances) {
            Box box = new Box(instance);
            if (named == null && (word != null || !box.ours()) || named != null && !named.equals(box.name)) {
                continue;
            }
            if (record(box.name).equals("busy")) {
                caller.say(box.name + " is being made, started or changed by another call: it was not looked at");
                continue;
            }
            boolean inside = named != null && box.is("Running");
            for (Check check : Stream.concat(fromOutside().stream(), inside ? fromInside().stream() : Stream.of())
                    .toList()) {
                List<Finding> found = ask(check, box);
                findings.addAll(found);
                if (LAST.contains(check.name) && found.stream().anyMatch(f -> !f.well)) {
                    break;
                }
            }
        }
        return findings;
    }

    private List<Finding> ask(Check check, Box box) {
        List<String> troubles = check.look.apply(box);
        return troubles.isEmpty() ? List.of(new Finding(check, box, "", true))
                : troubles.stream().map(it -> new Finding(check, box, it, false)).toList();
    }

    /** Asks limactl, and once more where an instance is broken: for a second or two each one is while it starts or stops. */
    private void list() {
        listFailed = null;
        instances = List.of();
        answers.clear();
        if (limaLacks() || run("id", "-u").out().strip().equals("0")) {
            return;
        }
        try {
            for (int i = 0; i == 0 || i < 3 && instances.stream().map(Box::new).anyMatch(b -> b.is("Broken")
                    && !b.halfMade()); i++) {
                LockSupport.parkNanos(i * 700_000_000L);
                instances = lima.list();
            }
        } catch (Lima.Failure failure) {
            listFailed = failure.getMessage();
        }
    }

    private void report(List<Finding> findings) {
        List<Finding> bad = findings.stream().filter(f -> !f.well).toList();
        for (Finding f : bad) {
            String[] says = fill(f.check.says, f).split("\n", 2);
            caller.out.println(wrapped(f.key() + ": " + says[0], "    "));
            if (says.length > 1) {
                caller.out.println(says[1].indent(4).stripTrailing());
            }
            caller.out.println(wrapped("  why: " + fill(f.check.cause, f), "       "));
            caller.out.println("  do:  " + fill(f.check.remedy, f).replace("\n", "\n       "));
        }
        long mends = bad.stream().filter(f -> f.check.fix != null).count();
        if (bad.isEmpty()) {
            findings.stream().collect(Collectors.groupingBy(f -> f.box.name, LinkedHashMap::new, Collectors.mapping(
                    f -> f.check.name, Collectors.toCollection(LinkedHashSet::new))))
                    .forEach((name, checks) -> caller.out.println(wrapped((name.isEmpty() ? "this computer" : name)
                            + ": " + String.join(", ", checks), "    ")));
            caller.out.println("all is well: " + findings.size() + " checks");
        } else {
            caller.out.println(bad.size() + " of " + findings.size() + " checks found something"
                    + (mends > 0 && !fix ? "; --fix mends " + mends : ""));
        }
    }

    private Map<String, Object> row(Finding f, Map<String, String> done) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("check", f.check.name);
        row.put("sandbox", f.box.name);
        row.put("well", f.well);
        if (!f.well) {
            row.put("says", fill(f.check.says, f));
            row.put("cause", fill(f.check.cause, f));
            row.put("remedy", fill(f.check.remedy, f));
            row.put("fix", f.check.fix != null);
        }
        if (done.containsKey(f.key())) {
            row.put("done", done.get(f.key()));
        }
        return row;
    }

    private String fill(String text, Finding f) {
        return Pattern.compile("\\{([a-z-]+)}").matcher(text)
                .replaceAll(m -> Matcher.quoteReplacement(switch (m.group(1)) {
                    case "it" -> f.it;
                    case "first" -> f.it.replaceAll(" .*", "");
                    case "quoted-it" -> quoted(f.it);
                    case "name" -> f.box.name;
                    case "dir" -> f.box.dir.toString();
                    case "quoted-dir" -> quoted(f.box.dir.toString());
                    case "home" -> lima.home.toString();
                    case "url" -> url;
                    case "qemu-install" -> mac() ? "brew install qemu" : caller.sibling("lima-install");
                    default -> caller.sibling(m.group(1));
                }));
    }

    private static String quoted(String word) {
        return word.matches("[A-Za-z0-9/._+@-]+") ? word : Lima.quote(word);
    }

    /** Text in lines of 80 characters; a longer word, which may be a path to copy, stays whole. */
    private static String wrapped(String text, String indent) {
        StringBuilder all = new StringBuilder();
        int column = 0;
        for (String part : text.split("(?<=[^ ]) ")) {
            if (column > 0 && column + 1 + part.length() > 80) {
                all.append('\n').append(indent);
                column = indent.length();
            } else if (column > 0) {
                all.append(' ');
                column++;
            }
            all.append(part);
            column += part.length();
        }
        return all.toString();
    }

    private static List<String> bad(boolean is, String it) {
        return is ? List.of(it) : List.of();
    }

    private Lima.Result run(String... command) {
        return answers.computeIfAbsent(List.of(command), c -> {
            try {
                return lima.run(Duration.ofMinutes(1), null, c);
            } catch (Lima.Failure notThere) {
                return new Lima.Result(127, "", notThere.getMessage());
            }
        });
    }

    private boolean missing(String program) {
        return program.contains("/") ? !Files.isExecutable(Path.of(program)) : lima.which(program).equals(program);
    }

    // --------------------------------------------------------------------------------------------------- this computer

    private boolean mac() {
        return run("uname", "-s").out().strip().equals("Darwin");
    }

    private List<String> system() {
        String is = run("uname", "-s").out().strip();
        String version = is.equals("Darwin") ? run("sw_vers", "-productVersion").out().strip() : "";
        Matcher major = Pattern.compile("([0-9]{1,4})([.].*)?").matcher(version);
        return major.matches() && Integer.parseInt(major.group(1)) < MACOS ? List.of("macOS " + version)
                : bad(!is.matches("Darwin|Linux"), is);
    }

    private String version() {
        return run("limactl", "--version").out().strip().replaceFirst("^limactl version v?", "Lima ");
    }

    private boolean tooOld() {
        return version().matches("Lima [01][.].*");
    }

    private boolean limaLacks() {
        return missing("limactl") || tooOld();
    }

    private static String arch() {
        return System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64";
    }

    /** QEMU may be another one, with other arguments, by Lima's own variable. */
    private String qemuTold() {
        return caller.env.getOrDefault("QEMU_SYSTEM_" + arch().toUpperCase(Locale.ROOT), "").strip();
    }

    private List<String> programs() {
        boolean qemu = !mac() || instances.stream().anyMatch(i -> i.path("vmType").asText().equals("qemu"));
        String missing = Stream.concat(qemu ? Stream.of(qemuTold().isEmpty() ? "qemu-system-" + arch()
                : qemuTold().split("\\s+")[0], "qemu-img") : Stream.of(), Stream.of("ssh")).filter(this::missing)
                .collect(Collectors.joining(", "));
        return bad(!missing.isEmpty(), missing);
    }

    /**
     * Runs QEMU for a blink as Lima would, which only looks whether the device exists: it can be there, can be opened,
     * and QEMU still abort (seen with Lima 2.2.0).
     *
     * @param kind of the trouble that is asked for: none, forbidden, broken
     */
    private List<String> kvm(String kind) {
        if (mac() || !qemuTold().isEmpty() || missing("qemu-system-" + arch())) {
            return List.of();
        }
        Lima.Result r = run("sh", "-c", "ulimit -c 0; echo quit | exec \"$@\"", "sh",
                "qemu-system-" + arch(), "-machine", (arch().equals("aarch64") ? "virt" : "q35") + ",accel=kvm",
                "-cpu", "host", "-S", "-display", "none", "-nodefaults", "-monitor", "stdio");
        Path device = Path.of("/dev/kvm");
        String is = r.code() == 0 ? "" : !Files.exists(device) ? "none"
                : !Files.isReadable(device) || !Files.isWritable(device) ? "forbidden" : "broken";
        return bad(is.equals(kind), r.err().lines().findFirst().orElse("exit code " + r.code()));
    }

    private List<String> memory() {
        long total = java.lang.management.ManagementFactory
                .getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean os
                        ? os.getTotalMemorySize()
                        : Long.MAX_VALUE;
        long sum = instances.stream().filter(Caller::runs).mapToLong(i -> i.path("memory").asLong()).sum();
        return total < 4 * GIB ? List.of("it has " + gib(total))
                : bad(sum > total, gib(sum) + " for the machines that run, of " + gib(total));
    }

    private List<String> space() {
        Path there = lima.home;
        while (!Files.exists(there)) {
            there = there.getParent();
        }
        Path dir = there;
        long free = Lima.io(() -> Files.getFileStore(dir).getUsableSpace());
        return bad(free < 5 * GIB, gib(free));
    }

    private static String gib(long bytes) {
        return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) GIB);
    }

    // ---------------------------------------------------------------------------------------- a sandbox, from outside

    /** An instance, as limactl tells of it. The checks of this computer have one without a name. */
    private static final class Box {
        final JsonNode node;
        final String name;
        final Path dir;
        final JsonNode config;
        private Map<String, List<String>> guest;

        Box(JsonNode node) {
            this.node = node;
            name = node.path("name").asText();
            dir = Path.of(node.path("dir").asText());
            config = node.path("config");
        }

        boolean is(String status) {
            return node.path("status").asText().equals(status);
        }

        boolean halfMade() {
            return !Files.exists(dir.resolve("lima.yaml"));
        }

        /** Ours: a sandbox or a base, or nobody's. */
        boolean ours() {
            return halfMade() || config.path("param").path("sandbox").asText().contains("kind=");
        }

        Stream<JsonNode> each(String list) {
            return StreamSupport.stream(config.path(list).spliterator(), false);
        }

        /** The directories here, behind the links that stand for paths that Lima cannot write. */
        List<Path> mounts() {
            return each("mounts").map(m -> Path.of(m.path("location").asText())).map(m -> Lima.io(
                    () -> Files.exists(m) ? m.toRealPath() : Files.isSymbolicLink(m) ? Files.readSymbolicLink(m) : m))
                    .toList();
        }

        /** A forwarded socket of Docker's: {@code guestSocket} or {@code hostSocket}; empty if there is none. */
        String docker(String side) {
            return each("portForwards").filter(f -> f.path("guestSocket").asText().endsWith("docker.sock"))
                    .map(f -> f.path(side).asText()).findFirst().orElse("");
        }

        /** The ports of 127.0.0.1 that its YAML keeps for it. */
        List<Integer> ports() {
            return Stream.concat(each("portForwards").filter(f -> !f.path("ignore").asBoolean())
                    .map(f -> f.path("hostPort").asInt()), Stream.of(config.path("ssh").path("localPort").asInt()))
                    .filter(p -> p > 0).toList();
        }

        String read(String file) {
            return Lima
                    .io(() -> Files.exists(dir.resolve(file)) ? Files.readString(dir.resolve(file), ISO_8859_1) : "");
        }
    }

    /** What our record tells that was under way for a name; "busy" while it still is, empty if nothing was. */
    private String record(String name) {
        Path file = lima.home.resolve("_sandbox/locks").resolve(name + ".lock");
        return !Files.exists(file) ? "" : Lima.io(() -> {
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
                    FileLock lock = channel.tryLock()) {
                ByteBuffer noted = ByteBuffer.allocate(500);
                channel.read(noted, 0);
                Matcher left = Pattern
                        .compile("(create|clone|base|delete|start) ([^ ]+)(?: ([0-9]{1,18}) ([0-9]{1,18}))?")
                        .matcher(new String(noted.array(), 0, noted.position(), UTF_8));
                return lock == null || left.matches() && left.group(3) != null && life.process(left.group(3),
                        Long.parseLong(left.group(4)), ".*" + Pattern.quote(name) + ".*").isPresent() ? "busy"
                                : left.matches() && !left.group(1).equals("start") ? left.group(1) : "";
            }
        });
    }

    private List<String> interrupted(Box b) {
        return bad(!record(b.name).isEmpty(), record(b.name));
    }

    /** What the next call on it would do; it removes nothing but what that interrupted call of ours was making. */
    private String settle(Box b, String what) {
        life.lock(b.name).close();
        return Files.exists(b.dir) ? "the record of the interrupted " + what + " is cleared"
                : "what the interrupted " + what + " had made is removed";
    }

    private List<String> broken(Box b) {
        boolean agent = Files.exists(b.dir.resolve("ha.pid"));
        boolean machine = Files.exists(b.dir.resolve(b.node.path("vmType").asText() + ".pid"));
        return bad(!b.is("Running") && !b.is("Stopped"), !b.is("Broken") ? "its lima.yaml cannot be read"
                : !agent ? "its host agent is gone"
                        : machine ? "its host agent does not answer" : "its machine is gone");
    }

    /** Only where no machine runs any more, in which a session or unsaved work could be. */
    private String mend(Box b, String it) {
        try (Life.Lock lock = life.lock(b.name)) {
            life.sweep(b.name);
            if (Files.exists(b.dir.resolve(b.node.path("vmType").asText() + ".pid"))) {
                throw new Lima.Failure("its machine runs, and a session may be in it. When it may end: "
                        + caller.sibling("sandboxes") + " restart " + b.name);
            }
            lima.limactl("stop", "-f", b.name);
            life.sweep(b.name); // limactl leaves the sockets of forwards
            return "what was left of its processes is cleared; it is stopped";
        }
    }

    private List<String> paused(Box b) {
        Matcher is = Pattern.compile("\"status\": *\"(paused|io-error)\"").matcher(qmp(b, ""));
        return b.is("Running") && is.find() ? List.of(is.group(1)) : List.of();
    }

    private String goOn(Box b, String it) {
        if (!qmp(b, "{\"execute\":\"cont\"}\n").matches("(?s).*\"running\": *true.*")) {
            throw new Lima.Failure("QEMU does not let it go on");
        }
        return "its machine goes on";
    }

    /** A talk with QEMU's monitor; its last answer tells the machine's state. Empty with VZ, which has none. */
    private static String qmp(Box b, String command) {
        return ask(b.dir.resolve("qmp.sock"), "{\"execute\":\"qmp_capabilities\"}\n" + command
                + "{\"execute\":\"query-status\"}\n", "(?s).*\"running\": *(true|false).*");
    }

    /** Says something to a socket and listens until the answer matches; empty without one within ten seconds. */
    private static String ask(Path socket, String words, String until) {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            return CompletableFuture.supplyAsync(() -> {
                StringBuilder heard = new StringBuilder();
                try {
                    channel.connect(UnixDomainSocketAddress.of(socket));
                    channel.write(UTF_8.encode(words));
                    ByteBuffer buffer = ByteBuffer.allocate(8192);
                    while (!heard.toString().matches(until) && channel.read(buffer.clear()) > 0) {
                        heard.append(UTF_8.decode(buffer.flip()));
                    }
                } catch (IOException e) {
                    return ""; // nobody is there, or he hung up
                }
                return heard.toString();
            }).completeOnTimeout("", 10, TimeUnit.SECONDS).join();
        } catch (IOException e) {
            return "";
        }
    }

    /** Lima's host agent writes its log anew at each start; an event tells when the machine was ready. */
    private List<String> startFailed(Box b) {
        if (!b.is("Stopped") || !Files.exists(b.dir.resolve("ha.stdout.log"))
                || b.read("ha.stdout.log").contains("\"running\":true")) {
            return List.of();
        }
        return List.of(b.read("ha.stderr.log").lines().filter(l -> l.matches("\\{.*\"level\":\"(fatal|error)\".*"))
                .map(l -> Lima.io(() -> Lima.Json.MAPPER.readTree(l)).path("msg").asText())
                .reduce((a, last) -> last).orElse("it was ended before"));
    }

    private List<String> stale(Box b) {
        String left = !b.is("Stopped") ? "" : Stream.of(".pid", ".sock").flatMap(suffix -> Stream.of(b.dir, b.dir
                .resolve("sock")).flatMap(d -> Life.files(d, suffix).stream())).map(f -> b.dir.relativize(f).toString())
                .collect(Collectors.joining(", "));
        return bad(!left.isEmpty(), left);
    }

    private String cleared(Box b) {
        try (Life.Lock lock = life.lock(b.name)) {
            life.sweep(b.name);
        }
        return "what was left of its processes is removed";
    }

    private List<String> ports(Box b) {
        List<String> taken = new ArrayList<>();
        for (int port : b.ports()) {
            Optional<String> other = instances.stream().map(Box::new).filter(o -> !o.name.equals(b.name)
                    && o.ports().contains(port)).map(o -> o.name).findFirst();
            if (other.isPresent()) {
                taken.add(port + " is kept for " + other.get() + ", too");
            } else if (b.is("Stopped") && !free(port)) {
                taken.add(port + " is taken by another program");
            }
        }
        return taken;
    }

    private static boolean free(int port) {
        try (ServerSocket socket = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
            return socket.isBound();
        } catch (IOException taken) {
            return false;
        }
    }

    private boolean answers(Box b) {
        return ask(Path.of(b.docker("hostSocket")), "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n", "(?s).*\r\n\r\n.*")
                .contains(" 200 ");
    }

    /**
     * Where the guest is known not to have it either, the way to it is not to blame. The guest is asked first: after a boot
     * the daemon may need longer than the way is waited for.
     */
    private List<String> forward(Box b) {
        return bad(b.is("Running") && !b.docker("hostSocket").isEmpty() && (named == null || Stream.of(
                "answer", "failed", "setup", "docker").allMatch(k -> said(k).apply(b).isEmpty())) && !answers(b),
                b.docker("hostSocket"));
    }

    /** A forward of our own in place of Lima's, until the machine stops. */
    private String forwardAnew(Box b, String socket) {
        inGuest(b, "curl -s -m 20 -o /dev/null --unix-socket " + Lima.quote(b.docker("guestSocket"))
                + " http://docker/_ping", "");
        Lima.io(() -> Files.deleteIfExists(Path.of(socket)));
        List<String> call = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"));
        call.addAll(lima.sshCommand(b.name, List.of("-S", "none", "-fN", "-o", "ExitOnForwardFailure=yes", "-o",
                "StreamLocalBindUnlink=yes", "-o", "ServerAliveInterval=20", "-L", socket + ":"
                        + b.docker("guestSocket"))));
        if (lima.run(Duration.ofMinutes(2), null, call).code() != 0 || !answers(b)) {
            throw new Lima.Failure("Docker runs in it, but its socket could not be forwarded");
        }
        return "its Docker's socket is forwarded anew";
    }

    // ----------------------------------------------------------------------------------------- a sandbox, from inside

    /**
     * What the guest tells of itself, run by its sh: lines of a word and a text, which lines that begin with a blank
     * carry on. Set before it: url, term, docker (its socket there), marked (has our template's marker), and the functions
     * each_mount and each_file, which call their argument with each mount, and with one file in each.
     */
    private static final String GUEST = """
            echo "clock $(date +%s)"
            failed() {
            FAILED}
            failed=$(failed)
            if [ -n "$failed" ]; then
              echo "$failed"
              { if [ -e /run/sandbox/failed ]; then cat /var/log/sandbox.log
                else sudo -n tac /var/log/cloud-init-output.log | awk 'seen; /WARNING: Failed to execute/ { seen = 1 }' | tac
                fi; } 2>/dev/null | tail -n 12 | cut -c 1-200 | sed 's/^/ /'
              exit
            fi
            if [ ! -e /run/lima-boot-done ] || { [ -n "$marked" ] && [ ! -e /run/sandbox/ready ]; }; then
              echo "setup $(cat /run/sandbox/phase 2>/dev/null || echo 'its boot scripts run')"
            elif [ -n "$docker" ]; then
              why=$(curl -sS -m 20 -o /dev/null --unix-socket "$docker" http://docker/_ping 2>&1) ||
                echo "docker ${why:-no answer}"
            fi
            mounted() { mountpoint -q "$1" || echo "mount $1"; }
            each_mount mounted
            seen() { [ -e "$1" ] || [ -L "$1" ] || echo "mount $1"; }
            each_file seen
            git_takes() {
              ! LC_ALL=C git -C "$1" rev-parse --git-dir 2>&1 | grep -q 'dubious ownership' || echo "git $1"
            }
            ! command -v git >/dev/null || each_mount git_takes
            sudo -n journalctl -k -b -q --no-pager -o cat 2>/dev/null |
              sed -n 's/.*Out of memory: \\(Killed process\\)/killed \\1/p' | tail -n 1
            df -Pk "$HOME" | awk 'NR == 2 && $4 < 1048576 { printf "disk %d MiB of %d GiB\\n", $4 / 1024, $2 / 1048576 }'
            [ -z "$term" ] || ! command -v infocmp >/dev/null || infocmp "$term" >/dev/null 2>&1 || echo "terminal $term"

            command -v curl >/dev/null || exit
            code=0
            why=$(curl -sS -o /dev/null --connect-timeout 10 -m 20 --url "$url" 2>&1) || code=$?
            why=$(echo "$why" | head -n 1)
            through=$(env | grep -i '^https*_proxy=' | head -n 1 | sed 's#=[a-z0-9]*://#=#; s/=[^@]*@/=/; s/.*=/, through /')
            case "$code $why" in
              0\\ *) ;;
              6\\ *) echo "dns $why" ;;
              35\\ * | 51\\ * | 60\\ * | 77\\ *)
                echo "tls $why$through"
                curl -svk -o /dev/null -m 20 --url "$url" 2>&1 | sed -n 's/^[*] *issuer: / Its certificate is by /p' | head -n 1
                ;;
              5\\ * | 97\\ * | *[Pp]roxy* | *CONNECT*) echo "proxy $why$through" ;;
              *) [ -n "$through" ] && echo "proxy $why$through" || echo "internet $why" ;;
            esac
            """;

    private Function<Box, List<String>> said(String key) {
        return b -> guest(b).getOrDefault(key, List.of());
    }

    /** What the guest says of names; if this computer finds none either, nothing is to be mended in the guest. */
    private List<String> noAddress(Box b) {
        return said("dns").apply(b).stream().map(it -> {
            try {
                InetAddress.getByName(URI.create(url).getHost());
                return it;
            } catch (IllegalArgumentException whatIsNoUrl) {
                return it;
            } catch (UnknownHostException noneHereEither) {
                return it + "; nor does this computer";
            }
        }).toList();
    }

    /** What the guest says, asked once, over a connection of its own: another one may hang with what is looked for. */
    private Map<String, List<String>> guest(Box b) {
        if (b.guest == null) {
            b.guest = new LinkedHashMap<>();
            long before = Instant.now().getEpochSecond();
            Lima.Result r = overSsh(b, variables(b) + GUEST.replace("FAILED", Life.FAILED));
            if (r.code() == 255) {
                b.guest.put("answer", List.of(r.err().lines().reduce("no answer", (a, last) -> last)));
            }
            for (String line : r.out().replace("\n ", "\0").lines().toList()) {
                String[] parts = line.replace("\0", "\n").split(" ", 2);
                b.guest.computeIfAbsent(parts[0], k -> new ArrayList<>()).add(parts.length > 1 ? parts[1] : "");
            }
            b.guest.put("asked", List.of("" + before, "" + Instant.now().getEpochSecond()));
        }
        return b.guest;
    }

    private String variables(Box b) {
        StringBuilder files = new StringBuilder("each_file() {\n:\n");
        StringBuilder mounts = new StringBuilder("each_mount() {\n:\n");
        for (Path mount : b.mounts()) {
            String[] children = mount.toFile().list();
            mounts.append("\"$1\" ").append(Lima.quote(mount.toString())).append('\n');
            files.append(children == null || children.length == 0 ? ""
                    : "\"$1\" " + Lima.quote(mount.resolve(children[0]).toString()) + "\n");
        }
        return mounts + "}\n" + files + "}\nurl=" + Lima.quote(url) + "\nterm="
                + Lima.quote(caller.env.getOrDefault("TERM", "").replace("dumb", "")) + "\ndocker="
                + Lima.quote(b.docker("guestSocket")) + "\nmarked="
                + (b.config.path("probes").toString().contains("/run/sandbox/ready") ? 1 : "") + "\n";
    }

    private Lima.Result overSsh(Box b, String script) {
        try {
            return lima.run(Duration.ofSeconds(90), script, lima.sshCommand(b.name, List.of("-S", "none", "-o",
                    "ConnectTimeout=20"), "sh -s"));
        } catch (Lima.Failure tooLong) {
            return new Lima.Result(255, "", tooLong.getMessage());
        }
    }

    /** Runs a command in the guest, which must succeed; gives the words for it. */
    private String inGuest(Box b, String script, String did) {
        Lima.Result r = overSsh(b, script);
        if (r.code() != 0) {
            throw new Lima.Failure("in it failed: " + script + " " + r.err().strip());
        }
        return did;
    }

    private String startDocker(Box b, String it) {
        return inGuest(b,
                "systemctl --user start docker && for i in 1 2 3 4 5 6 7 8 9 10; do curl -s -m 10 -o /dev/null"
                        + " --unix-socket " + Lima.quote(b.docker("guestSocket"))
                        + " http://docker/_ping && exit; sleep 1; done;"
                        + " exit 1",
                "its Docker is started");
    }

    private List<String> clock(Box b) {
        List<String> told = said("clock").apply(b);
        if (told.isEmpty() || !told.get(0).matches("[0-9]{1,18}")) {
            return List.of();
        }
        long there = Long.parseLong(told.get(0));
        long behind = Long.parseLong(b.guest.get("asked").get(0)) - there;
        long ahead = there - Long.parseLong(b.guest.get("asked").get(1));
        return bad(Math.max(behind, ahead) > 30, behind > 0 ? behind + " s behind" : ahead + " s ahead");
    }

    // --- Caller: the same text in every script that is told what it is for by a sandbox's name or directory ---
    /** Who calls: environment, directory, streams; how he is spoken to; and which sandbox a word of his means. */
    static final class Caller {
        final Map<String, String> env;
        final Path cwd;
        final PrintWriter out;
        final PrintWriter err;
        /** How he called us, so that hints can be pasted. */
        final String command;
        private final String script;

        Caller(String script, String command, Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err) {
            this.script = script;
            this.command = command;
            this.env = env;
            this.cwd = cwd;
            this.out = out;
            this.err = err;
        }

        static Caller ofThisProcess(String script) {
            return new Caller(script, System.getProperty("sandbox.command", System.getenv("JBANG_LAUNCH_CMD") != null
                    ? "jbang " + script + ".java" : script), System.getenv(), Path.of("").toAbsolutePath(),
                    new PrintWriter(System.out, true, UTF_8), new PrintWriter(System.err, true, UTF_8));
        }

        /** Runs one command line; gives the exit code, and never throws for a failure of ours, which is told on err. */
        int run(Object program, String... args) {
            return new CommandLine(program).setOut(out).setErr(err)
                    .setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF))
                    .setParameterExceptionHandler((e, a) -> {
                        CommandLine verb = e.getCommandLine();
                        say(e.getMessage());
                        err.print("Usage: " + verb.getHelp().synopsis(0));
                        say("'" + command + (verb.getParent() == null ? "" : " " + verb.getCommandName())
                                + " --help' tells more.");
                        return 2;
                    })
                    .setExecutionExceptionHandler((e, l, p) -> {
                        if (!(e instanceof Lima.Failure failure)) {
                            throw e;
                        }
                        say(failure.getMessage());
                        return failure.code;
                    }).execute(args);
        }

        void say(String text) {
            err.println(text.lines().map(line -> script + ": " + line.replaceAll("\\p{Cntrl}", " "))
                    .collect(Collectors.joining("\n")));
            err.flush();
        }

        /** Another script of this project, spelled as this one was; in a checkout the launcher itself is sandbox. */
        String sibling(String other) {
            return command.endsWith("sandbox " + script) && other.startsWith("sandbox")
                    ? command.substring(0, command.length() - script.length() - 1)
                    : command.replaceFirst("\\b" + script + "(?=$|@|\\.java)", other);
        }

        static boolean isPath(String word) {
            return word.matches("[.~/].*");
        }

        /** The instance, as limactl tells of it, that has a name, or the one of this tool that has a directory mounted. */
        JsonNode sandbox(String word, List<JsonNode> instances) {
            String name = isPath(word) ? covering(word, instances) : word;
            JsonNode is = instances.stream().filter(i -> i.path("name").asText().equals(name)).findFirst()
                    .orElseThrow(() -> new Lima.Failure(2, "there is no sandbox " + name));
            if (mark(is).contains("kind=base")) {
                throw new Lima.Failure(2, name + " is a base that sandboxes are cloned from, and never runs");
            }
            return is;
        }

        private String covering(String word, List<JsonNode> instances) {
            String home = env.getOrDefault("HOME", "/");
            Path typed = cwd.resolve(word.equals("~") || word.startsWith("~/") ? home + word.substring(1) : word);
            Path dir = Lima.io(() -> Files.isDirectory(typed) ? typed.toRealPath() : typed.normalize());
            List<String> found = instances.stream().filter(i -> ours(i) && sees(i, dir))
                    .map(i -> i.path("name").asText()).toList();
            if (found.size() != 1) {
                throw new Lima.Failure(2, found.isEmpty() ? "no sandbox has " + dir + " mounted; give its name"
                        : "several sandboxes have " + dir + " mounted, say which: " + String.join(", ", found));
            }
            return found.get(0);
        }

        private static String mark(JsonNode instance) {
            return instance.path("config").path("param").path("sandbox").asText();
        }

        static boolean ours(JsonNode instance) {
            return mark(instance).contains("kind=sandbox");
        }

        static boolean sees(JsonNode instance, Path dir) {
            return mounts(instance).anyMatch(dir::startsWith);
        }

        /** The directories that it has mounted; sandbox mounts one with an odd name by a link to it. */
        static Stream<Path> mounts(JsonNode instance) {
            return StreamSupport.stream(instance.path("config").path("mounts").spliterator(), false)
                    .map(m -> Path.of(m.path("location").asText()))
                    .map(p -> Lima.io(() -> Files.isSymbolicLink(p) && Files.exists(p) ? p.toRealPath() : p));
        }

        static boolean runs(JsonNode instance) {
            return instance.path("status").asText().equals("Running");
        }

        /** The name of an instance, which must run. */
        String running(JsonNode instance) {
            String name = instance.path("name").asText();
            if (!runs(instance)) {
                throw new Lima.Failure(name + " is " + instance.path("status").asText().toLowerCase(Locale.ROOT)
                        + ". To start it: " + sibling("sandboxes") + " start " + name);
            }
            return name;
        }
    }
    // --- end of Caller ---

    // --- Lima: the same text in every script ---
    /** Runs limactl, qemu-img and ssh: argument lists in, exit codes and words out. limactl is asked, never believed. */
    static final class Lima {
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

        /** What limactl may see of our environment. QEMU and the hostagent keep it for the VM's life: no keys in it. */
        private static final Pattern PASSED = Pattern
                .compile("PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TERM|TERMINFO(_DIRS)?|TMPDIR|XDG_.*"
                        + "|LIMA_.*|QEMU_SYSTEM_.*|NO_COLOR|SSL_CERT_(FILE|DIR)|(?i:https?_proxy|no_proxy|all_proxy|ftp_proxy)");

        private static final Pattern REASON = Pattern.compile("level=(?:fatal|error) msg=\"((?:[^\"\\\\]|\\\\.)*)\"");

        final Map<String, String> env;
        final Path home;

        Lima(Map<String, String> caller) {
            env = new TreeMap<>(caller);
            env.keySet().removeIf(name -> !PASSED.matcher(name).matches());
            env.merge("PATH", caller.getOrDefault("HOME", "") + "/.local/bin", (path, ours) -> path + ":" + ours);
            String told = caller.getOrDefault("LIMA_HOME", "");
            home = told.isEmpty() ? Path.of(caller.getOrDefault("HOME", "/"), ".lima") : Path.of(told).toAbsolutePath();
        }

        /** Runs a program to its end; a missing one or too long a run is a failure, an exit code is not. */
        Result run(Duration limit, String stdin, List<String> command) {
            return io(() -> {
                Process process = builder(command).start();
                var out = CompletableFuture.supplyAsync(() -> io(() -> process.getInputStream().readAllBytes()));
                var err = CompletableFuture.supplyAsync(() -> io(() -> process.getErrorStream().readAllBytes()));
                try (OutputStream to = process.getOutputStream()) {
                    to.write((stdin == null ? "" : stdin).getBytes(UTF_8));
                }
                if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                    process.destroyForcibly();
                    throw new Failure(command.get(0) + " did not end within " + limit.toSeconds() + " s");
                }
                return new Result(process.exitValue(), new String(out.join(), UTF_8), new String(err.join(), UTF_8));
            });
        }

        ProcessBuilder builder(List<String> command) {
            ProcessBuilder builder = new ProcessBuilder(new ArrayList<>(command));
            builder.command().set(0, which(command.get(0)));
            builder.environment().clear();
            builder.environment().putAll(env);
            return builder;
        }

        /** Where a program is on our PATH, which Java does not look at; the name as it is if nowhere. */
        String which(String program) {
            return Stream.of(env.get("PATH").split(":")).map(d -> Path.of(d, program))
                    .filter(Files::isExecutable).findFirst().map(Path::toString).orElse(program);
        }

        /** Runs limactl, which must succeed; its stdout. A failure carries its last words. */
        String limactl(String... args) {
            Result r = run(Duration.ofMinutes(20), null, Stream.concat(Stream.of("limactl"), Stream.of(args)).toList());
            if (r.code != 0) {
                throw new Failure("limactl " + args[0] + " failed: " + reason(r.err));
            }
            return r.out;
        }

        /** The sentence in limactl's log lines that says why, else the last line. */
        static String reason(String log) {
            String last = REASON.matcher(log).results().map(m -> m.group(1).replace("\\\"", "\"").replace("\\n", " "))
                    .reduce(log.strip().replaceAll("(?s).*\n", ""), (a, b) -> b);
            return last.isEmpty() ? "it said nothing" : last;
        }

        /**
         * All instances, as limactl tells of them; its --format json would break at 64 KiB an instance. Before 2.2 one
         * directory without a lima.yaml, half-made, spoils the whole list: then the others are asked for by name.
         */
        List<JsonNode> list() {
            return lines().map(l -> io(() -> Json.MAPPER.readTree(l))).toList();
        }

        private Stream<String> lines() {
            Result all = run(Duration.ofMinutes(5), null, List.of("limactl", "list", "--format", "{{json .}}"));
            String[] good = all.code == 0 ? null : home.toFile().list((d, n) -> new File(d, n + "/lima.yaml").exists());
            String lines = all.code == 0 ? all.out : good == null || good.length == 0 ? "" : limactl(Stream.concat(
                    Stream.of("list", "--format", "{{json .}}"), Stream.of(good)).toArray(String[]::new));
            return lines.lines().filter(l -> !l.isBlank());
        }

        /** A class of its own, so that it is set up when it is needed first: it takes as long as a call over ssh. */
        static final class Json {
            static final ObjectMapper MAPPER = new ObjectMapper();
        }

        /** Runs a command in the guest over our own connection to it (Life.connect), without a terminal. */
        Result ssh(String name, Duration limit, String stdin, String remote) {
            return run(limit, stdin, sshCommand(name, List.of(), remote));
        }

        List<String> sshCommand(String name, List<String> options, String... remote) {
            List<String> command = new ArrayList<>(
                    List.of("ssh", "-F", home.resolve(name).resolve("ssh.config").toString(),
                            "-o", "ControlPath=" + socket(name), "-o", "ControlMaster=no", "-o", "LogLevel=ERROR"));
            command.addAll(options);
            command.add("lima-" + name);
            command.addAll(List.of(remote));
            return command;
        }

        /** The socket of our connection; its path, with ssh's own suffix, has to stay below 104 bytes. */
        Path socket(String name) {
            Path plain = state("s").resolve(name);
            Path socket = plain.toString().length() <= 85 ? plain
                    : state("s").resolve("_" + hash(name).substring(0, 8));
            if (socket.toString().length() > 85) {
                throw new Failure("LIMA_HOME is too long for the sockets of ssh: " + home);
            }
            return socket;
        }

        /** A directory of our own; Lima ignores names that begin with _. */
        Path state(String what) {
            Path dir = home.resolve("_sandbox").resolve(what);
            return io(() -> Files.isDirectory(dir) ? dir : Files.createDirectories(dir,
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))));
        }

        /** One word for a POSIX shell, byte for byte. */
        static String quote(String word) {
            return "'" + word.replace("'", "'\\''") + "'";
        }

        static String hash(String text) {
            return io(() -> HexFormat.of().formatHex(
                    MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8))));
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
                String text = String.valueOf(e.getMessage());
                throw new Failure(text.contains("error=2,")
                        ? text.replaceAll("(?s).*program \"(.*?)\".*", "$1") + " was not found on the PATH"
                        : e.getClass().getSimpleName().replace("Exception", "") + ": " + text);
            }
        }
    }
    // --- end of Lima ---

    // --- Life: the same text in every script that boots or stops something ---
    /** An instance's life: made, started, ready, stopped, deleted. All of it under a lock of ours, as Lima has none. */
    static final class Life {
        private final Lima lima;
        private final Consumer<String> progress;

        Life(Lima lima, Consumer<String> progress) {
            this.lima = lima;
            this.progress = progress;
        }

        /** A lock on a name. Its file tells what is under way and by which process, for whoever comes after a kill -9. */
        static final class Lock implements AutoCloseable {
            private final FileChannel channel;
            private String note = "";
            Optional<ProcessHandle> by = Optional.empty();
            /** Was it left by a call that would have deleted the instance at its end? */
            boolean abandoned;

            private Lock(FileChannel channel) {
                this.channel = channel;
            }

            /** Notes that WHAT (create, clone, base, start, delete) of NAME begins, by a process; "": nothing is unfinished. */
            void making(String whatAndName, ProcessHandle process) {
                note = whatAndName;
                by = Optional.ofNullable(process);
                String line = note + by.map(p -> " " + p.pid() + " " + born(p)).orElse("");
                Lima.io(() -> channel.truncate(0).write(UTF_8.encode(line), 0));
            }

            @Override
            public void close() {
                Lima.io(() -> {
                    channel.close();
                    return null;
                });
            }
        }

        private static long born(ProcessHandle process) {
            return process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
        }

        /**
         * The process of a number that was noted at a time, if it is still the one: no younger, and of such a command
         * line, of which the JVM itself would tell 4 KiB only.
         */
        private Optional<ProcessHandle> process(String pid, long noted, String line) {
            return ProcessHandle.of(Long.parseLong(pid)).filter(p -> born(p) < noted + 10_000)
                    .filter(p -> lima.run(Duration.ofMinutes(1), null, List.of("sh", "-c",
                            "cat /proc/$0/cmdline 2>/dev/null || ps -ww -o args= -p $0", pid)).out()
                            .replace('\0', ' ').strip().matches("(?s)" + line));
        }

        /** Takes the lock of a name, waiting for whoever has it, and clears up after an interrupted call. */
        Lock lock(String name) {
            return Lima.io(() -> {
                Path file = lima.state("locks").resolve(name + ".lock");
                FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ,
                        StandardOpenOption.WRITE, StandardOpenOption.DSYNC);
                while (!locked(channel)) {
                    progress.accept("waiting for another call that works on " + name);
                    Thread.sleep(200);
                }
                Lock lock = new Lock(channel);
                ByteBuffer noted = ByteBuffer.allocate(500); // read by this channel: closing another one frees the lock
                channel.read(noted, 0);
                Matcher left = Pattern.compile("([a-z]+) ([^ ]+)(?: ([0-9]{1,18}) ([0-9]{1,18}))?")
                        .matcher(new String(noted.array(), 0, noted.position(), UTF_8));
                if (left.matches()) {
                    settle(lock, left.group(1), left.group(2), left.group(3) == null ? Optional.empty()
                            : process(left.group(3), Long.parseLong(left.group(4)),
                                    left.group(1).equals("rm") ? ".*" : ".*" + Pattern.quote(left.group(2)) + ".*"));
                }
                return lock;
            });
        }

        /** After a kill -9: waits for the limactl that ran on; what it was to make goes, what it started stays. */
        private void settle(Lock lock, String what, String name, Optional<ProcessHandle> by) {
            if (what.equals("rm")) {
                lock.abandoned = by.isEmpty();
                return;
            }
            by.filter(p -> what.equals("base")).ifPresent(ProcessHandle::destroyForcibly); // its start may take long yet
            while (by.filter(ProcessHandle::isAlive).isPresent() && !(what.equals("start") && lima.limactl(
                    "list", "--format", "{{.Name}} {{.Status}}").lines().anyMatch((name + " Running")::equals))) {
                progress.accept("waiting for an interrupted limactl " + what + ", process " + by.get().pid());
                LockSupport.parkNanos(500_000_000L);
            }
            Path dir = lima.home.resolve(name);
            Path yaml = dir.resolve("lima.yaml");
            boolean ours = Lima.io(() -> !Files.exists(yaml) || Files.readString(yaml).contains("v=1 kind="));
            if (!what.equals("start") && ours && !Files.exists(dir.resolve("protected"))) { // a finished base is protected
                progress.accept("removing the half-made " + name);
                delete(name);
            }
            lock.making("", null);
        }

        private static boolean locked(FileChannel channel) throws IOException {
            try {
                return channel.tryLock() != null;
            } catch (OverlappingFileLockException heldByAnotherThreadHere) {
                return false;
            }
        }

        /**
         * Takes away pid files that name no process of this instance, and the sockets that nothing of it serves any more.
         * After a reboot of the host they can name anybody's process, and limactl would kill it (seen on 2.2.0).
         */
        void sweep(String name) {
            String own = "(.* hostagent (.* )?NAME|.* -name lima-NAME( .*)?|.* --inst-dir [^ ]*/NAME( .*)?"
                    .concat("|[^ ]*krunkit .*/NAME/.*)").replace("NAME", Pattern.quote(name));
            Path dir = lima.home.resolve(name);
            // After clone and rename it has mode 0000: no Docker, and no clone of the clone.
            lima.run(Duration.ofMinutes(1), null, List.of("chmod", "-f", "700", dir.resolve("sock").toString()));
            boolean alive = false;
            for (Path file : files(dir, ".pid")) {
                String pid = Lima.io(() -> Files.exists(file) ? Files.readString(file).strip() : "");
                boolean fits = pid.matches("[0-9]{1,9}") && process(pid, file.toFile().lastModified(), own).isPresent();
                alive |= fits;
                Lima.io(() -> !fits && Files.deleteIfExists(file));
            }
            if (!alive) {
                Stream.of(dir, dir.resolve("sock")).flatMap(d -> files(d, ".sock").stream())
                        .forEach(socket -> Lima.io(() -> Files.deleteIfExists(socket)));
            }
        }

        private static List<Path> files(Path dir, String suffix) {
            return Stream.ofNullable(dir.toFile().listFiles((d, file) -> file.endsWith(suffix))).flatMap(Stream::of)
                    .map(File::toPath).toList();
        }

        /** Starts a stopped instance; shows the guest's own phases and ends at once when its set-up has failed. */
        void start(String name, Duration limit, Lock lock) {
            disconnect(name); // a socket of an earlier boot
            sweep(name);
            progress.accept("booting " + name);
            lock.note = lock.note.isEmpty() ? "start " + name : lock.note; // a base is noted as that
            if (!booted(name, limit, lock)) {
                progress.accept(name + " shows no sign of life: its power is cut and it is booted once more");
                lima.limactl("stop", "-f", name);
                if (!booted(name, limit, lock)) {
                    throw new Lima.Failure(name + " shows no sign of life, twice. What its console said last is in "
                            + lima.home.resolve(name).resolve("serial.log") + hostagent(name));
                }
            }
        }

        private static final String PANIC = "Kernel panic - not syncing";

        /**
         * Did the guest do anything, its set-up fail included? A quarter of LIMIT without a sign of life is enough, or its
         * kernel's last words (seen now and then in the second second of a boot, with several emulated processors).
         */
        private boolean booted(String name, Duration limit, Lock lock) {
            String before = console(name);
            String[] seen = {"", before};
            long[] heard = {System.nanoTime()};
            BooleanSupplier dead = () -> !seen[1].equals(before) && seen[1].contains(PANIC)
                    || System.nanoTime() - heard[0] > Math.max(limit.toNanos() / 4, 10_000_000_000L);
            Lima.Result r = limactl(List.of("start", "--tty=false", "--timeout", limit.toSeconds() + "s", name),
                    lock, () -> {
                        seen[0] = glance(name);
                        String console = console(name);
                        if (!seen[0].isEmpty() || !console.equals(seen[1])) {
                            heard[0] = System.nanoTime();
                            seen[1] = console;
                        }
                        progress.accept(seen[0].startsWith("failed ") ? "" : seen[0]);
                        return !seen[0].startsWith("failed ") && !dead.getAsBoolean(); // Lima would wait until the time-out
                    });
            boolean happened = r.code() == 0 || seen[0].startsWith("failed ");
            if (!happened && !dead.getAsBoolean()) {
                throw new Lima.Failure(
                        "limactl start of " + name + " failed: " + Lima.reason(r.err()) + hostagent(name));
            }
            return happened;
        }

        /** What the guest's consoles said since QEMU or VZ began this boot, and of the boot before until then. */
        private String console(String name) {
            return files(lima.home.resolve(name), ".log").stream()
                    .filter(f -> f.getFileName().toString().startsWith("serial"))
                    .map(f -> Lima.io(() -> Files.exists(f) ? Files.readString(f, ISO_8859_1) : ""))
                    .collect(Collectors.joining());
        }

        /**
         * Runs limactl for as long as GO_ON, asked every three seconds, says so. The lock's file knows the process before
         * it begins: a shell becomes limactl on our word only, which it never gets if we die before.
         */
        Lima.Result limactl(List<String> args, Lock lock, BooleanSupplier goOn) {
            return Lima.io(() -> {
                Path log = Files.createTempFile(lima.state("locks"), "limactl", ".log");
                try {
                    Process child = lima.builder(Stream.concat(Stream.of(
                            "sh", "-c", "read go && exec limactl \"$@\" </dev/null", "sh"), args.stream()).toList())
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(log.toFile()).start();
                    lock.making(lock.note, child.toHandle());
                    new PrintWriter(child.getOutputStream(), true, UTF_8).println("go"); // no matter if it was killed
                    while (!child.waitFor(3, TimeUnit.SECONDS)) {
                        if (!goOn.getAsBoolean()) {
                            child.destroy();
                        }
                    }
                    int code = child.exitValue();
                    // Ctrl-C reaches limactl too, and may end it before it is known here that this process ends.
                    LockSupport.parkNanos(code == 0 ? 0 : 1_000_000_000L);
                    return new Lima.Result(code, "", Files.readString(log)
                            + (code > 128 ? "\nit was ended by signal " + (code - 128) : ""));
                } finally {
                    Files.deleteIfExists(log);
                }
            });
        }

        /**
         * A shell script that names a provision script that failed in this boot, if one did. Our template tells by
         * itself; of any other only the log of its boot does, as Lima exits with 0 (seen on 2.2.0).
         */
        static final String FAILED = """
                if [ -e /run/sandbox/failed ]; then sed 's/^/failed /' /run/sandbox/failed
                elif [ -e /run/lima-boot-done ]; then
                  sudo -n cat /var/log/cloud-init-output.log 2>/dev/null |
                    awk '/running .init-local/ { f = "" } sub(/.*WARNING: Failed to execute /, "") { f = $0 }
                      END { if (f) print "failed", f }'
                fi
                """;

        /** What the guest says of its set-up while it boots: "failed …", a phase, or nothing yet. */
        private String glance(String name) {
            String remote = FAILED + "cat /run/sandbox/phase 2>/dev/null || if [ -e /run/lima-boot-done ];"
                    + " then echo 'waiting for the probes of its template'; else echo 'running its boot scripts'; fi";
            return Files.exists(limasSocket(name)) ? direct(name, remote).out().lines().findFirst().orElse("") : "";
        }

        /** Lima's connection, the first one of a boot: another costs an emulated guest seconds of its processor. */
        private Path limasSocket(String name) {
            return lima.home.resolve(name).resolve("ssh.sock");
        }

        /** An ssh call beside our connection, which is not there yet; a guest too busy to answer has not answered. */
        private Lima.Result direct(String name, String remote) {
            try {
                return lima.run(Duration.ofSeconds(30), null, lima.sshCommand(name,
                        List.of("-S", limasSocket(name).toString(), "-o", "ConnectTimeout=10"), remote));
            } catch (Lima.Failure tooSlow) {
                return new Lima.Result(255, "", tooSlow.getMessage());
            }
        }

        private String hostagent(String name) {
            Path log = lima.home.resolve(name).resolve("ha.stderr.log");
            return !Files.exists(log) ? ""
                    : Lima.io(() -> Files.readAllLines(log)).stream()
                            .filter(l -> l.matches(".*\"level\":\"(fatal|error)\".*")).reduce("", (a, b) -> "\n  " + b);
        }

        /** Is our connection of this boot open? Then readiness and mounts were proven in this boot. */
        boolean connected(String name) {
            return Files.exists(lima.socket(name))
                    && lima.run(Duration.ofMinutes(1), null, lima.sshCommand(name, List.of("-O", "check")))
                            .code() == 0;
        }

        /**
         * Opens our own connection, once the guest's boot scripts are done: a running VM may still be booting when an
         * earlier start was interrupted. Lima's own connection takes no variables along (seen on 2.2.0).
         */
        void connect(String name, Duration limit) {
            Instant end = Instant.now().plus(limit);
            while (direct(name, "test -e /run/lima-boot-done -o -e /run/sandbox/failed").code() != 0) {
                if (Instant.now().isAfter(end)) {
                    String how = direct(name, "true").code() == 0 ? " did not finish booting" : " does not answer";
                    throw new Lima.Failure(name + how + " within " + limit.toSeconds() + " s" + hostagent(name)
                            + "\nTo stop it by force: limactl stop -f " + name + "; the same command again starts it");
                }
                if (!Files.exists(lima.home.resolve(name).resolve("ha.pid"))) {
                    throw new Lima.Failure(
                            name + " was stopped by somebody meanwhile; the same command again starts it");
                }
                if (console(name).contains(PANIC)) { // of this boot: a console's file begins anew with it
                    lima.limactl("stop", "-f", name);
                    throw new Lima.Failure("the kernel of " + name + " crashed; the same command again starts it");
                }
                String seen = glance(name);
                progress.accept(seen.isEmpty() ? "waiting for " + name + " to finish booting" : seen);
                LockSupport.parkNanos(2_000_000_000L);
            }
            if (!connected(name)) {
                disconnect(name);
                List<String> master = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh")); // it stays
                master.addAll(lima.sshCommand(name, List.of("-MNf", "-o", "SendEnv=*", "-o", "ServerAliveInterval=20",
                        "-o", "ServerAliveCountMax=6")));
                lima.run(Duration.ofMinutes(2), null, master);
            }
            if (!connected(name)) {
                throw new Lima.Failure("no connection to " + name + ": " + Lima.reason(direct(name, "true").err()));
            }
        }

        void disconnect(String name) {
            if (Files.exists(lima.socket(name))) {
                lima.run(Duration.ofMinutes(1), null, lima.sshCommand(name, List.of("-O", "exit")));
                Lima.io(() -> Files.deleteIfExists(lima.socket(name)));
            }
        }

        /** Stops an instance, a broken one too; twice is no error. Its guest is asked first, then the power is cut. */
        void stop(String name) {
            disconnect(name);
            sweep(name);
            if (lima.run(Duration.ofMinutes(7), null, List.of("limactl", "stop", name)).code() != 0) {
                direct(name, "sync");
                lima.limactl("stop", "-f", name);
            }
        }

        /** Deletes an instance; a half-made one without a lima.yaml too, which limactl refuses to (seen on 2.2.0). */
        void delete(String name) {
            disconnect(name);
            sweep(name);
            Lima.Result r = lima.run(Duration.ofMinutes(2), null, List.of("limactl", "delete", "-f", name));
            Path dir = lima.home.resolve(name);
            if (Files.exists(dir.resolve("lima.yaml"))) {
                throw new Lima.Failure("limactl did not delete " + name + ": " + Lima.reason(r.err()));
            }
            lima.run(Duration.ofMinutes(2), null, List.of("rm", "-rf", "--", dir.toString()));
        }
    }
    // --- end of Life ---
}
