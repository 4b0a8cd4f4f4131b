///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Directories of a project on the disk of its sandbox: faster, and not on the host.
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
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
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
 * {@code guest-dirs NAME PATH…}: puts directories of the project on the disk of its sandbox, by bind mounts there.
 * {@link #call()} tells the story, {@link Output} reads which directories a build writes to, and the scripts below are
 * what runs in the guest. They keep the lists of what is wanted, in the guest: a clone and a snapshot have them too.
 *
 * <p>{@code sandbox} runs {@link #PROVE} before each session, {@link #REPORTS} after a build.
 */
@Command(
        name = "guest-dirs",
        sortOptions = false,
        customSynopsis = "guest-dirs NAME [PATH,...] [--dir DIR] [--build | --no-build]%n",
        description = {
                "Puts directories of the project on the disk of its sandbox.",
                "",
                "They are faster there than on the mount. What this computer has there is hidden",
                "in the sandbox, not lost. Without PATH: tells which they are.",
                "",
                "PATH is relative to the mounted directory. 'none' takes all off again.%n"
        },
        footer = {
                "",
                "'sandbox --guest-dir PATH,... NAME' and 'mvn lima:exec -Dlima.target=guest' do",
                "this by themselves.",
                "",
                "Examples:",
                "  guest-dirs myapp node_modules,build,.gradle",
                "  guest-dirs . --build       target or build of each module of this project",
                "  guest-dirs myapp none",
                "",
                "Exit codes: 0, 125 for failures, 2 for usage."
        })
class GuestDirs implements Callable<Integer> {
    /** Where the guest keeps lists and scripts; the user's there. Each *.list has one directory a line. */
    private static final String OWN = "/var/lib/sandbox/guest-dirs";

    /**
     * As the guest's user: binds what is listed and not bound, after a boot, or after somebody on the host has deleted
     * such a directory, which takes the mount away with it (seen on Linux 6). Silent if all is well. With list: tells
     * what is wanted.
     */
    static final String PROVE = """
            cd /var/lib/sandbox/guest-dirs || exit
            export LC_ALL=C
            # What lies in another listed one is on the disk with it.
            wanted() {
                cat -- *.list 2>/dev/null | sort -u |
                    awk '{ p = $0; while (sub("/[^/]*$", "", p)) if (p in seen) next; seen[$0]; print }'
            }
            [ "${1-}" != list ] || { wanted; exit; }
            exec 9>>lock && flock 9
            wanted | while IFS= read -r dir; do
                ! mountpoint -q -- "$dir" || continue
                above=${dir%/*}
                [ -d "$above" ] || continue # a project or module that is not there any more
                if [ "$(readlink -f -- "$above")" = "$above" ] && [ ! -L "$dir" ] && mkdir -p -- "$dir" &&
                    sudo -n sh -c 'mkdir -p -- "$1" && chown "$3" "$1" && mount --bind "$1" "$2"' sh \\
                        "/var/lib/sandbox/disk$dir" "$dir" "$(id -u):$(id -g)" </dev/null; then
                    continue
                fi
                echo "sandbox: $dir could not be put on the sandbox's own disk" >&2
            done
            """;

    /**
     * As the guest's user, with a list ($1) and the project ($2): brings test reports from the disk to the mount, for
     * editors and CI on the host. The mount is seen below the binds through a second one, which does not take them along.
     */
    static final String REPORTS = """
            list=$1 project=$2
            cd /var/lib/sandbox/guest-dirs || exit
            share=/run/sandbox-share-$$
            touch "$list.now" "$list.copied"
            sudo -n mkdir "$share" && sudo -n mount --bind "$project" "$share" || exit
            while IFS= read -r dir; do
                for report in surefire-reports failsafe-reports site/jacoco site/jacoco-it site/jacoco-aggregate \\
                    jacoco.exec jacoco-it.exec test-results reports jacoco; do
                    from=$dir/$report to=$share${dir#"$project"}/$report
                    if [ ! -e "$from" ]; then
                        ! grep -qxF -- "$from" "$list.copied" || rm -rf -- "$to" # since a clean
                    elif [ ! -e "$to" ] || [ ! -e "$list.then" ] || [ -n "$(find "$from" -newer "$list.then" -print -quit)" ]; then
                        rm -rf -- "$to" && mkdir -p -- "${to%/*}" && cp -R -- "$from" "$to" && echo "$from" >>"$list.copied"
                    fi
                done
            done <"$list.list"
            mv "$list.now" "$list.then"
            sudo -n umount "$share" && sudo -n rmdir "$share"
            """;

    /**
     * As the guest's user, with a list's name ($1), add or set ($2) and directories: changes the list and what is bound.
     * Tells of it, one line each: new, on, off or busy, and the directory.
     */
    private static final String CHANGE = """
            set -e
            list=$1 how=$2
            shift 2
            cd /var/lib/sandbox/guest-dirs
            export LC_ALL=C
            sh prove list >before
            { [ "$how" = set ] || cat "$list.list" 2>/dev/null || :
              for dir; do printf '%s\\n' "$dir"; done; } | sort -u >new
            if [ -s new ]; then mv new "$list.list"; else rm -f new "$list".*; fi
            sh prove list >after
            comm -23 before after | sort -r | while IFS= read -r dir; do
                ! mountpoint -q -- "$dir" ||
                    sudo -n umount "$dir" </dev/null 2>/dev/null || { echo "busy $dir"; continue; }
                echo "off $dir"
            done
            for dir; do mkdir -p -- "$dir" || :; done
            sh prove
            comm -13 before after | sed 's/^/new /'
            while IFS= read -r dir; do ! mountpoint -q -- "$dir" || echo "on $dir"; done <after
            rm before after
            """;

    /**
     * As root, for builds on such directories, which cannot be deleted, only emptied: Maven's clean takes that as no
     * failure (of 2.5 to 3.5, all failed without). Maven 3.8 to 4 and the wrapper's older script read /etc/mavenrc.
     */
    private static final String MAVEN = """
            grep -qs guest-dirs /etc/mavenrc || cat >>/etc/mavenrc <<'END'
            # Written by guest-dirs of sandbox: a directory on a file system of its own can only be emptied by clean.
            if ls /var/lib/sandbox/guest-dirs/*.list >/dev/null 2>&1; then
                MAVEN_OPTS="${MAVEN_OPTS-} -Dmaven.clean.failOnError=false -Dmaven.clean.retryOnError=false"
            fi
            END
            """;

    /** The same for Gradle, whose clean has no such option: before it begins, it is told to delete what is in there. */
    private static final String GRADLE = """
            mkdir -p "${GRADLE_USER_HOME:-$HOME/.gradle}/init.d"
            cat >"${GRADLE_USER_HOME:-$HOME/.gradle}/init.d/sandbox-guest-dirs.gradle" <<'END'
            // Written by guest-dirs of sandbox: a directory on a file system of its own can only be emptied by clean.
            gradle.taskGraph.whenReady { graph ->
                def lists = new File('/var/lib/sandbox/guest-dirs').listFiles()
                def own = (lists ?: []).findAll { it.name.endsWith('.list') }.collectMany { it.readLines() } as Set
                graph.allTasks.findAll { it instanceof Delete }.each { task ->
                    def files = task.targetFiles.files
                    if (files.any { own.contains(it.path) }) {
                        task.delete = files.collectMany { own.contains(it.path) ? (it.listFiles() ?: []) as List : [it] } as Set
                    }
                }
            }
            END
            """;

    private static final List<String> GRADLE_FILES = List.of("settings.gradle", "settings.gradle.kts", "build.gradle",
            "build.gradle.kts");

    /** Both builders' clean gets along with such directories. */
    private static final String CLEAN = "sudo -n sh <<'ROOT'\n" + MAVEN + "ROOT\n" + GRADLE;

    @Parameters(index = "0", paramLabel = "NAME", description = "The sandbox; '.' is this directory's.")
    String name;

    @Parameters(index = "1..*", arity = "0..*", split = ",", paramLabel = "PATH",
            description = "Relative to the mounted directory; 'none' takes all off.")
    List<String> paths = new ArrayList<>();

    @Option(names = "--dir", paramLabel = "DIR", description = "The project (default: this directory).")
    Path dirOption;

    @Option(names = "--build", negatable = true,
            description = "What the build writes: each module's target or build.")
    Boolean build;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    private final Caller caller;
    private Lima lima;
    private String sandbox;
    private Path mount;

    GuestDirs(Caller caller) {
        this.caller = caller;
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("guest-dirs");
        System.exit(caller.run(new GuestDirs(caller), args));
    }

    @Override
    public Integer call() {
        Path dir = dirOption == null ? caller.cwd : caller.cwd.resolve(dirOption).normalize();
        if (!Files.isDirectory(dir)) {
            throw new Lima.Failure(2, "no such directory: " + dir);
        }
        Path project = Lima.io(() -> dir.toRealPath());
        paths.forEach(GuestDirs::check);
        lima = new Lima(caller.env);
        JsonNode is = caller.sandbox(Caller.isPath(name) ? project.toString() : name, lima.list());
        mount = Caller.mounts(is).filter(project::startsWith).max(Comparator.comparingInt(Path::getNameCount))
                .orElseThrow(() -> new Lima.Failure(2,
                        project + " is not mounted in the sandbox " + is.path("name").asText()));
        sandbox = caller.running(is);
        if (paths.isEmpty() && build == null) {
            caller.out.print(
                    lima.ssh(sandbox, Duration.ofMinutes(1), null,
                            "[ ! -e " + OWN + "/prove ] || sh " + OWN + "/prove list")
                            .out());
            caller.out.flush();
            return 0;
        }
        int none = paths.lastIndexOf("none");
        if (!paths.isEmpty()) {
            Set<Path> wanted = paths.subList(none + 1, paths.size()).stream().map(p -> real(mount.resolve(p)))
                    .collect(Collectors.toCollection(TreeSet::new));
            change("dirs", none < 0 ? "add" : "set", wanted,
                    wanted.stream().map(Path::getParent).anyMatch(GuestDirs::isModule));
        }
        if (build != null) {
            build(project);
        }
        return 0;
    }

    private void build(Path project) {
        String list = "build-" + Lima.hash(project.toString()).substring(0, 10);
        if (!build) {
            change(list, "set", Set.of(), false);
            return;
        }
        Output output = Output.of(project);
        output.unread.forEach(caller::say);
        if (output.dirs.isEmpty()) {
            throw new Lima.Failure(2, "there is no pom.xml, settings.gradle or build.gradle in " + project);
        }
        change(list, "set", output.dirs.stream().map(this::real).collect(Collectors.toCollection(TreeSet::new)), true);
        // What was read, so that sandbox knows when it is to be read again.
        guest("cat >" + OWN + "/" + list + ".read <<'READ'\n"
                + output.read.stream().map(p -> p + "\n").collect(Collectors.joining()) + "READ\n", "sh -s");
    }

    /** A directory in which Maven or Gradle builds. */
    private static boolean isModule(Path dir) {
        return Stream.concat(Stream.of("pom.xml"), GRADLE_FILES.stream())
                .anyMatch(file -> Files.exists(dir.resolve(file)));
    }

    /** Makes a list this one, or longer by these, and says what came of it. */
    private void change(String list, String how, Set<Path> dirs, boolean built) {
        String scripts = "mkdir -p " + OWN + " 2>/dev/null || sudo -n sh -c 'mkdir -p " + OWN + " && chown \"$1\" "
                + OWN
                + "' sh \"$(id -u):$(id -g)\" </dev/null\ncat >" + OWN + "/prove <<'PROVE'\n" + PROVE
                + "PROVE\ncat >" + OWN
                + "/reports <<'REPORTS'\n" + REPORTS + "REPORTS\n";
        Lima.Result r = guest(scripts + (built ? CLEAN : "") + CHANGE, "sh -s " + list + " " + how + " "
                + dirs.stream().map(d -> Lima.quote(d.toString())).collect(Collectors.joining(" ")));
        List<Path> on = told(r, "on").toList();
        told(r, "new").forEach(d -> caller.say(d + " is on the sandbox's own disk" + hidden(d)));
        told(r, "off").filter(d -> on.stream().noneMatch(d::startsWith)).forEach(d -> caller.say(
                d + " is on the mount again; what the sandbox had there stays in its /var/lib/sandbox/disk" + d));
        told(r, "busy").forEach(d -> caller.say(d + " is in use, and on the mount again from the next start on"));
        List<String> missing = dirs.stream().filter(d -> on.stream().noneMatch(d::startsWith)).map(Path::toString)
                .toList();
        if (!missing.isEmpty()) {
            throw new Lima.Failure("not on the sandbox's own disk: " + String.join(", ", missing)
                    + (r.err().isBlank() ? "" : "\n" + r.err().strip()));
        }
    }

    private static Stream<Path> told(Lima.Result r, String what) {
        return r.out().lines().filter(l -> l.startsWith(what + " ")).map(l -> Path.of(l.substring(what.length() + 1)));
    }

    private static String hidden(Path dir) {
        String[] there = dir.toFile().list();
        return there == null || there.length == 0 ? ""
                : "; what this computer has there (" + there.length + (there.length == 1 ? " entry" : " entries")
                        + ") is hidden in it, not lost";
    }

    private Lima.Result guest(String script, String remote) {
        Lima.Result r = lima.ssh(sandbox, Duration.ofMinutes(5), script, remote);
        if (r.code() != 0) {
            throw new Lima.Failure(r.code() == 255 ? "no connection to " + sandbox
                    : sandbox + " could not do it: " + r.err().strip());
        }
        return r;
    }

    private static void check(String path) {
        Path p = Path.of(path);
        if (p.isAbsolute() || p.normalize().toString().isEmpty() || path.contains("\n")
                || StreamSupport.stream(p.spliterator(), false).anyMatch(e -> e.toString().equals(".."))) {
            throw new Lima.Failure(2,
                    "'" + path + "' is no directory in the project: a relative path without .. is taken,"
                            + " as in node_modules,frontend/build");
        }
    }

    /** The real path of what may not be there yet. A link that leads out of the mount is refused, a dangling one too. */
    private Path real(Path path) {
        Path there = path.normalize();
        while (!Files.exists(there, LinkOption.NOFOLLOW_LINKS)) {
            there = there.getParent();
        }
        Path deepest = there;
        Path real = Files.exists(deepest)
                ? Lima.io(() -> deepest.toRealPath()).resolve(deepest.relativize(path.normalize()))
                : Path.of("/");
        if (!real.startsWith(mount) || real.equals(mount)) {
            throw new Lima.Failure(2, path + " leads out of " + mount);
        }
        if (Files.exists(real) && !Files.isDirectory(real)) {
            throw new Lima.Failure(2, path + " is a file");
        }
        return real;
    }

    /**
     * Where a build writes to, as far as its files say so in plain text; nothing of the project is run.
     *
     * @param read the files that said it
     * @param unread sentences on what is not plain
     */
    record Output(Set<Path> dirs, Set<Path> read, List<String> unread) {

        private static final long MOST_BYTES = 1_000_000;
        private static final Pattern MODULE = Pattern.compile("<(?:module|subproject)>\\s*([^<]+?)\\s*</");
        private static final Pattern DIRECTORY = Pattern.compile(
                "(?s)<build>(?:(?!</build>).)*?<directory>\\s*([^<]+?)\\s*</directory>");
        private static final Pattern INCLUDE = Pattern
                .compile("\\binclude\\b\\s*\\(?((?:\\s*['\"][^'\"\\n]+['\"]\\s*,?)+)");

        static Output of(Path project) {
            Output output = new Output(new TreeSet<>(), new TreeSet<>(), new ArrayList<>());
            output.maven(project.resolve("pom.xml"), "target");
            output.gradle(project);
            return output;
        }

        /** A module inherits its parent's directory; the parent is taken to be the POM that names it as a module. */
        private void maven(Path pom, String inherited) {
            String text = text(pom);
            if (text.isEmpty() || !read.add(pom)) {
                return;
            }
            String plain = text.replaceAll("(?s)<!--.*?-->", "");
            Matcher own = DIRECTORY.matcher(plain.replaceAll(
                    "(?s)<(profiles|resources|testResources|plugins|pluginManagement|extensions)>.*?</\\1>", ""));
            String directory = own.find() ? own.group(1).replaceFirst("^\\$\\{(project\\.)?basedir}/", "") : inherited;
            if (directory.contains("${") || Path.of(directory).isAbsolute()) {
                unread.add(pom + " has its build directory in " + directory + ": left where it is");
            } else {
                dirs.add(pom.resolveSibling(directory).normalize());
            }
            MODULE.matcher(plain).results().map(m -> pom.resolveSibling(m.group(1)).normalize())
                    .forEach(m -> maven(Files.isDirectory(m) ? m.resolve("pom.xml") : m, directory));
        }

        private void gradle(Path project) {
            List<Path> modules = new ArrayList<>();
            for (String file : GRADLE_FILES) {
                String text = text(project.resolve(file));
                if (!text.isEmpty()) {
                    read.add(project.resolve(file));
                    modules.add(project);
                    INCLUDE.matcher(file.startsWith("settings") ? text : "").results()
                            .flatMap(m -> Stream.of(m.group(1).split("['\"]\\s*,?\\s*['\"]|['\"]")))
                            .filter(m -> !m.isBlank() && !m.strip().equals(","))
                            .forEach(m -> modules.add(project.resolve(m.replaceFirst("^:", "").replace(':', '/'))));
                }
            }
            if (!modules.isEmpty()) {
                modules.add(project.resolve("buildSrc"));
                modules.stream().map(Path::normalize).filter(Files::isDirectory)
                        .forEach(m -> dirs.add(m.resolve("build")));
                dirs.add(project.resolve(".gradle"));
            }
        }

        /** Nothing for what is no plain file or too long: the tree may be anybody's. */
        private static String text(Path file) {
            return Lima.io(() -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) <= MOST_BYTES
                    ? new String(Files.readAllBytes(file), UTF_8)
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
}
