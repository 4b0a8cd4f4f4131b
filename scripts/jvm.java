///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION The JDK and the Maven that a project needs, in its sandbox.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code jvm NAME [DIR]}: puts the JDK that a project wants, and Maven if it brings no wrapper, into its sandbox.
 * {@link Wanted} reads the project, {@link #call()} tells the story, {@link #INSTALL} is what runs in the guest.
 *
 * <p>{@code sandbox NAME mvn …} and {@code mvn lima:exec} call it by themselves, once for each state of the build's files.
 */
@Command(
        name = "jvm",
        sortOptions = false,
        customSynopsis = "jvm NAME [DIR] [--jdk N] [--print] [--json]%n",
        description = {
                "Installs the JDK that a project wants in its sandbox, from the distribution's",
                "packages, and Maven if it has a pom.xml and no ./mvnw.",
                "",
                "The first of: --jdk; .sdkmanrc, .java-version, .tool-versions; the enforcer's",
                "requireJavaVersion; gradle-daemon-jvm.properties; --outer; the smallest long-term",
                "release that its highest release, source or target allows.%n"
        },
        footer = {
                "",
                "'sandbox NAME mvn ...' and 'mvn lima:exec' do this by themselves.",
                "",
                "Examples:",
                "  jvm myapp                  for this directory's project",
                "  jvm myapp ~/app --jdk 21",
                "  jvm . --print              only says what it would take, and why",
                "",
                "Exit codes: 0, 125 for failures, 2 for usage."
        })
class Jvm implements Callable<Integer> {
    /** Long-term releases, of which some distribution has a package. */
    private static final int[] LONG_TERM = {8, 11, 17, 21, 25};

    /**
     * As root, with the version wanted ($1), whether any other does as well ($2), the project's directory ($3), whether
     * Maven is wanted ($4) and a stamp ($5). Where the distribution lacks the version the next higher one is taken; a JDK
     * compiles for older ones.
     */
    static final String INSTALL = """
            set -e
            want=$1 any=$2 project=$3 maven=$4 stamp=$5
            state=/var/lib/sandbox/jvm
            home() { ls -d /usr/lib/jvm/java-$1-openjdk-* 2>/dev/null | grep -v /[.] | head -n 1; }
            packaged() { j=$(home $1); [ -n "$j" ] && [ -x "$j/bin/javac" ]; }
            wait='-o DPkg::Lock::Timeout=600'
            fresh() { [ -n "$fresh" ] || { echo 'reading the lists of packages' >&2; apt-get -q $wait update >/dev/null; fresh=1; }; }
            fresh=
            there() {
                [ -n "$(ls /var/lib/apt/lists/*_Packages* 2>/dev/null)" ] || fresh
                apt-cache policy openjdk-$1-jdk-headless 2>/dev/null | grep -q 'Candidate: [0-9]'
            }
            found=
            lower=
            [ $any = 0 ] || lower=$(seq $((want - 1)) -1 8)
            for v in $(seq $want 40) $lower; do
                [ $any = 0 ] || ! command -v javac >/dev/null || break
                if packaged $v; then found=$v; break; fi
                if there $v; then
                    echo "installing openjdk-$v-jdk-headless" >&2
                    DEBIAN_FRONTEND=noninteractive apt-get -q -y $wait install --no-install-recommends \\
                        openjdk-$v-jdk-headless >/tmp/jvm.log 2>&1 || { fresh
                        DEBIAN_FRONTEND=noninteractive apt-get -q -y $wait install --no-install-recommends \\
                            openjdk-$v-jdk-headless >/tmp/jvm.log 2>&1 || { tail -n 20 /tmp/jvm.log >&2; exit 100; }; }
                    packaged $v && found=$v && break
                fi
            done
            home=$(home ${found:-0})
            if [ -z "$found" ] && command -v javac >/dev/null; then # not from a package
                found=$(javac -version 2>&1 | sed 's/^javac \\(1[.]\\)\\{0,1\\}\\([0-9]*\\).*/\\2/')
                home=$(readlink -f "$(command -v javac)")
                home=${home%/bin/javac}
                [ $any = 1 ] || [ "$found" -ge $want ] || found=
            fi
            [ -n "$found" ] || { echo "this system has no JDK $want and none above it" >&2; exit 101; }
            if [ $maven = 1 ] && ! command -v mvn >/dev/null; then
                echo 'installing maven' >&2
                DEBIAN_FRONTEND=noninteractive apt-get -q -y $wait install --no-install-recommends maven \\
                    >/tmp/jvm.log 2>&1 || { tail -n 20 /tmp/jvm.log >&2; exit 100; }
            fi
            mkdir -p "$state$project"
            echo "$home" >"$state$project/java-home"
            # A login shell takes the JDK of the project that it is in.
            cat >/etc/profile.d/sandbox-jvm.sh <<'END'
            d=$PWD
            while [ -n "$d" ]; do
                if [ -r "/var/lib/sandbox/jvm$d/java-home" ]; then
                    read -r JAVA_HOME <"/var/lib/sandbox/jvm$d/java-home"
                    export JAVA_HOME
                    PATH=$JAVA_HOME/bin:$PATH
                    break
                fi
                d=${d%/*}
            done
            unset d
            END
            [ -z "$stamp" ] || { mkdir -p $state/.stamps; : >"$state/.stamps/$stamp"; }
            echo $found
            """;

    @Parameters(index = "0", paramLabel = "NAME", description = "The sandbox; '.' is this directory's.")
    String name;

    @Parameters(index = "1", arity = "0..1", paramLabel = "DIR",
            description = "The project (default: this directory).")
    Path dirOption;

    @Option(names = "--jdk", paramLabel = "N", description = "This version, whatever the project says.")
    Integer jdk;

    @Option(names = "--outer", paramLabel = "N", description = "The version that the caller's own build runs on.")
    Integer outer;

    @Option(names = "--print", description = "Only say which version it would be, and why.")
    boolean print;

    @Option(names = "--json", description = "Say it as JSON: jdk, why, installed, maven.")
    boolean json;

    @Option(names = "--stamp", paramLabel = "WORD", hidden = true,
            description = "Leaves a file of this name in the guest, so that the caller knows.")
    String stamp = "";

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    private final Caller caller;

    Jvm(Caller caller) {
        this.caller = caller;
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("jvm");
        System.exit(caller.run(new Jvm(caller), args));
    }

    @Override
    public Integer call() {
        Path dir = dirOption == null ? caller.cwd : caller.cwd.resolve(dirOption).normalize();
        if (!Files.isDirectory(dir)) {
            throw new Lima.Failure(2, "no such directory: " + dir);
        }
        Path project = Lima.io(() -> dir.toRealPath());
        Wanted wanted = Wanted.of(project, jdk, outer);
        boolean maven = Files.exists(project.resolve("pom.xml")) && !Files.isExecutable(project.resolve("mvnw"));
        if (print) {
            told(wanted, null, maven);
            return 0;
        }
        Lima lima = new Lima(caller.env);
        String sandbox = running(lima, project);
        caller.say("JDK " + wanted.version() + ", because of " + wanted.why());
        Lima.Result r = lima.ssh(sandbox, Duration.ofMinutes(60), INSTALL, "sudo sh -s " + wanted.version() + " "
                + (wanted.said() ? "0 " : "1 ") + Lima.quote(project.toString()) + " " + (maven ? 1 : 0) + " "
                + Lima.quote(stamp));
        r.err().lines().forEach(caller::say);
        if (r.code() != 0) {
            throw new Lima.Failure(r.code() == 255 ? "no connection to " + sandbox
                    : "JDK " + wanted.version() + " could not be installed in " + sandbox + ", see above"
                            + ". Another one: " + caller.command + " " + sandbox + " --jdk N");
        }
        int found = Integer.parseInt(r.out().strip());
        if (found != wanted.version() && wanted.said()) {
            caller.say("its distribution has no JDK " + wanted.version() + ": it is JDK " + found);
        }
        told(wanted, found, maven);
        return 0;
    }

    private void told(Wanted wanted, Integer installed, boolean maven) {
        if (json) {
            caller.out.println(
                    Lima.io(() -> Lima.Json.MAPPER
                            .writeValueAsString(new TreeMap<>(Map.of("jdk", wanted.version(), "why",
                                    wanted.why(), "installed", installed == null ? 0 : installed, "maven", maven)))));
        } else if (print) {
            caller.out.println("JDK " + wanted.version() + ", because of " + wanted.why());
        }
    }

    /** The sandbox that is meant, of the project's directory if a path is named; it must run and see the project. */
    private String running(Lima lima, Path project) {
        JsonNode is = caller.sandbox(Caller.isPath(name) ? project.toString() : name, lima.list());
        if (!Caller.ours(is) || !Caller.sees(is, project)) {
            throw new Lima.Failure(2, project + " is not mounted in the sandbox " + is.path("name").asText());
        }
        return caller.running(is);
    }

    /** The version of Java that a project wants, and what says so. Reads text; nothing of the project is run. */
    record Wanted(int version, String why) {
        private static final String UNSAID = "no word about it in the project";
        private static final int MOST_FILES = 500;
        private static final long MOST_BYTES = 1_000_000;
        private static final Pattern POM = Pattern
                .compile("<(maven\\.compiler\\.(?:release|source|target)|java\\.version"
                        + "|release|source|target|testRelease)>\\s*([0-9.]+)\\s*</");
        private static final Pattern ENFORCED = Pattern.compile(
                "(?s)<requireJavaVersion>.*?<version>\\s*[\\[(]?\\s*([0-9.]+).*?</requireJavaVersion>");
        private static final Pattern GRADLE = Pattern.compile("JavaLanguageVersion\\.of\\(\\s*\"?([0-9]+)"
                + "|JavaVersion\\.VERSION_([0-9_]+)|(?:source|target)Compatibility\\s*=\\s*['\"]?([0-9.]+)"
                + "|jvmToolchain\\(\\s*([0-9]+)");

        /** Does the project care? If it does not, a JDK that is there already is as good. */
        boolean said() {
            return !why.equals(UNSAID);
        }

        /** INSISTED is the user's choice, OUTER what the caller's build runs on; both may be null. */
        static Wanted of(Path project, Integer insisted, Integer outer) {
            if (insisted != null) {
                return new Wanted(insisted, "--jdk");
            }
            Stream<Optional<Wanted>> said = Stream.of(
                    file(project, ".sdkmanrc", "(?m)^\\s*java\\s*=\\s*([0-9.]+)"),
                    file(project, ".java-version", "(?m)^(?:[a-z-]+-)?([0-9.]+)"),
                    file(project, ".tool-versions", "(?m)^\\s*java\\s+(?:[a-z-]+-)*([0-9.]+)"),
                    file(project, "pom.xml", ENFORCED.pattern()).map(w -> new Wanted(atLeast(w.version),
                            "the enforcer's requireJavaVersion")),
                    file(project, "gradle/gradle-daemon-jvm.properties", "(?m)^\\s*toolchainVersion\\s*=\\s*([0-9.]+)"),
                    Optional.ofNullable(outer).map(v -> new Wanted(v, "the JDK that the caller's build runs on")));
            return said.flatMap(Optional::stream).findFirst().orElseGet(() -> fromBuild(project));
        }

        /** The highest version that a build file names is a lower bound: newer compilers compile for older releases. */
        private static Wanted fromBuild(Path project) {
            List<Wanted> bounds = new ArrayList<>();
            Lima.io(() -> Files.walkFileTree(project, new SimpleFileVisitor<>() {
                private int files;

                @Override
                public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes a) {
                    String directory = String.valueOf(dir.getFileName());
                    return !dir.equals(project) && (directory.startsWith(".")
                            || directory.matches("target|build|node_modules|src")) ? FileVisitResult.SKIP_SUBTREE
                                    : FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes a) {
                    String path = project.relativize(file).toString();
                    if (path.matches("(.*/)?pom\\.xml")) {
                        all(text(file), POM).forEach(v -> bounds.add(new Wanted(v, path)));
                    } else if (path.matches("(.*/)?build\\.gradle(\\.kts)?")) {
                        all(text(file), GRADLE).forEach(v -> bounds.add(new Wanted(v, path)));
                    }
                    return ++files > MOST_FILES ? FileVisitResult.TERMINATE : FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult visitFileFailed(Path file, IOException e) {
                    return FileVisitResult.CONTINUE;
                }
            }));
            return bounds.stream().reduce((a, b) -> b.version > a.version ? b : a)
                    .map(w -> new Wanted(atLeast(w.version), w.version + " in " + w.why))
                    .orElse(new Wanted(21, UNSAID));
        }

        private static int atLeast(int version) {
            return IntStream.of(LONG_TERM).filter(v -> v >= version).findFirst().orElse(version);
        }

        private static Optional<Wanted> file(Path project, String name, String pattern) {
            return all(text(project.resolve(name)), Pattern.compile(pattern)).findFirst().map(v -> new Wanted(v, name));
        }

        private static Stream<Integer> all(String text, Pattern pattern) {
            return pattern.matcher(text).results().map(m -> IntStream.rangeClosed(1, m.groupCount()).mapToObj(m::group)
                    .filter(g -> g != null && g.matches("[0-9].*")).findFirst().orElse(""))
                    .flatMap(g -> number(g).stream());
        }

        /** 1.8 and 1_8 are 8, 21.0.4 is 21. */
        static Optional<Integer> number(String text) {
            Matcher m = Pattern.compile("(?:1[._])?([0-9]{1,2})(?:[._].*)?").matcher(text);
            return m.matches() && Integer.parseInt(m.group(1)) >= 6 ? Optional.of(Integer.valueOf(m.group(1)))
                    : Optional.empty();
        }

        /** Nothing for what is no plain file or too long: the tree may be anybody's. */
        private static String text(Path file) {
            return Lima.io(() -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) <= MOST_BYTES
                    ? Files.readString(file, StandardCharsets.ISO_8859_1)
                    : "");
        }
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
            return StreamSupport.stream(instance.path("config").path("mounts").spliterator(), false)
                    .anyMatch(m -> dir.startsWith(m.path("location").asText()));
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
            Result all = run(Duration.ofMinutes(5), null, List.of("limactl", "list", "--format", "{{json .}}"));
            String[] good = all.code == 0 ? null : home.toFile().list((d, n) -> new File(d, n + "/lima.yaml").exists());
            String lines = all.code == 0 ? all.out : good == null || good.length == 0 ? "" : limactl(Stream.concat(
                    Stream.of("list", "--format", "{{json .}}"), Stream.of(good)).toArray(String[]::new));
            return lines.lines().filter(l -> !l.isBlank()).map(l -> io(() -> Json.MAPPER.readTree(l))).toList();
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
}
