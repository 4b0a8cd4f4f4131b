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
import java.net.URI;
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
import java.util.LinkedHashMap;
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
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.w3c.dom.Element;
import org.xml.sax.SAXException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code jvm NAME [DIR]}: puts the JDK that a project wants, and Maven if it brings no wrapper, into its sandbox.
 * {@link Wanted} reads the project, {@link Settings} what Maven is told on this computer, {@link #call()} tells the story,
 * {@link #INSTALL} and {@link #FILES} are what runs in the guest.
 *
 * <p>{@code sandbox NAME mvn …} and {@code mvn lima:exec} call it by themselves, once for each state of the build's files.
 */
@Command(
        name = "jvm",
        sortOptions = false,
        customSynopsis = "jvm NAME [DIR] [--jdk N] [--print] [--json]%n",
        description = {
                "Installs the JDK that a project wants in its sandbox.",
                "",
                "It comes from the distribution's packages, as do the versions that toolchains",
                "ask for, and Maven without --maven, if the project has a pom.xml and no ./mvnw.",
                "Maven's settings in there get this computer's mirrors, proxies and repositories.",
                "",
                "The first of: --jdk; .sdkmanrc, .java-version, .tool-versions; the enforcer's",
                "requireJavaVersion; gradle-daemon-jvm.properties; --outer; the smallest",
                "long-term release that its highest release, source or target allows.%n"
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
     * As root, after lines that set want (a version), any (does another one as well?), project, toolchains (versions
     * wanted besides), maven (none; any; or a version, whose archive is then in zip unless it is there already),
     * network (lines for net.properties), stamp, settled (a word for the settings that follow) and uid (the user's).
     * Where the distribution lacks the version the next higher one is taken; a JDK compiles for older ones.
     */
    static final String INSTALL = """
            set -e
            umask 022
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
            package() {
                echo "installing $1" >&2
                for try in 1 2; do
                    DEBIAN_FRONTEND=noninteractive apt-get -q -y $wait install --no-install-recommends $1 \\
                        >/tmp/jvm.log 2>&1 && return
                    [ $try = 2 ] || fresh
                done
                tail -n 20 /tmp/jvm.log >&2
                exit 100
            }
            get() {
                packaged $1 || there $1 && { packaged $1 || package openjdk-$1-jdk-headless; } && packaged $1
            }
            found=
            lower=
            [ $any = 0 ] || lower=$(seq $((want - 1)) -1 8)
            for v in $(seq $want 40) $lower; do
                [ $any = 0 ] || ! command -v javac >/dev/null || break
                if get $v; then found=$v; break; fi
            done
            home=$(home ${found:-0})
            if [ -z "$found" ] && command -v javac >/dev/null; then # not from a package
                found=$(javac -version 2>&1 | sed 's/^javac \\(1[.]\\)\\{0,1\\}\\([0-9]*\\).*/\\2/')
                home=$(readlink -f "$(command -v javac)")
                home=${home%/bin/javac}
                [ $any = 1 ] || [ "$found" -ge $want ] || found=
            fi
            [ -n "$found" ] || { echo "this system has no JDK $want and none above it" >&2; exit 101; }
            for v in $toolchains; do
                get $v || echo "there is no JDK $v here, which a toolchain of this build asks for" >&2
            done
            # Docker 29 refuses what Testcontainers before 1.21.4 asks with (API 1.32). In a sandbox an older API guards nothing.
            docker=/etc/systemd/user/docker.service.d
            if [ -e /etc/systemd/user/docker.service ] && [ ! -e $docker/sandbox-api.conf ]; then
                mkdir -p $docker
                printf '[Service]\\nEnvironment=DOCKER_MIN_API_VERSION=1.24\\n' >$docker/sandbox-api.conf
                user() { sudo -n -u "#$uid" XDG_RUNTIME_DIR=/run/user/$uid DOCKER_HOST=unix:///run/user/$uid/docker.sock "$@" </dev/null; }
                user systemctl --user daemon-reload || :
                # Newer than 28, with nothing in it that a restart would end? Else it counts from the next start on.
                if user docker version --format '{{.Server.MinAPIVersion}}' 2>/dev/null | grep -q '^1[.]\\([4-9]\\|3[3-9]\\)' &&
                    [ -z "$(user docker ps -q)" ]; then
                    user systemctl --user restart docker.service || :
                fi
            fi
            mkdir -p "$state$project"
            echo "$home" >"$state$project/java-home"

            # What a JDK takes from no variable: the proxies, and the certificates that the system trusts.
            for jdk in /usr/lib/jvm/*/ "$home/"; do
                for file in conf jre/lib; do
                    file=$jdk$file/net.properties
                    [ -w "$file" ] || continue
                    { sed '/^# sandbox:/,/^# end of sandbox/d' "$file"; [ -z "$network" ] || echo "$network"; } >"$state/new"
                    cmp -s "$state/new" "$file" || cat "$state/new" >"$file" # the file may be a link
                done
                for file in lib jre/lib; do
                    file=$jdk$file/security/cacerts
                    [ -e /etc/ssl/certs/java/cacerts ] && [ -f "$file" ] && [ -w "${file%/*}" ] &&
                        [ "$(readlink -f "$file")" != /etc/ssl/certs/java/cacerts ] || continue
                    ln -sf /etc/ssl/certs/java/cacerts "$file"
                done
            done

            case $maven in
            none) ;;
            any) command -v mvn >/dev/null || [ -e "$state$project/maven-home" ] || package maven ;;
            *)
                own=/usr/local/lib/sandbox/maven-$maven
                if [ -n "$zip" ]; then
                    mkdir -p "${own%/*}"
                    new=$(mktemp -d "${own%/*}/.new-XXXXXX")
                    (cd "$new" && "$home/bin/jar" xf "$zip" && chmod 755 apache-maven-*/bin/mvn*)
                    rm -rf "$own" "$zip"
                    mv "$new"/apache-maven-* "$own"
                    rmdir "$new"
                fi
                [ -d "$own" ] || own=/usr/share/maven
                echo "$own" >"$state$project/maven-home"
                ;;
            esac

            # A login shell takes the JDK and the Maven of the project that it is in.
            cat >/etc/profile.d/sandbox-jvm.sh <<'END'
            d=$PWD
            while [ -n "$d" ]; do
                if [ -r "/var/lib/sandbox/jvm$d/java-home" ]; then
                    if [ -r "/var/lib/sandbox/jvm$d/maven-home" ]; then
                        read -r m <"/var/lib/sandbox/jvm$d/maven-home"
                        PATH=$m/bin:$PATH
                    fi
                    read -r JAVA_HOME <"/var/lib/sandbox/jvm$d/java-home"
                    export JAVA_HOME
                    PATH=$JAVA_HOME/bin:$PATH
                    break
                fi
                d=${d%/*}
            done
            unset d m
            END
            # Callers that are told different things, but come to the same, take turns without all this.
            # The first line of their stamps says to what.
            came="$home $(cat "$state$project/maven-home" 2>/dev/null || :) $settled"
            known=
            [ "$came" != "$(head -n 1 "$state$project/stamp" 2>/dev/null)" ] ||
                known=$(sed 1d "$state$project/stamp" | tail -n 7)
            rm -f "$state$project/stamp"
            proxies=
            [ ! -r /etc/environment ] || while IFS= read -r l; do
                case $l in *_[Pp][Rr][Oo][Xx][Yy]=*) proxies=$proxies$l ;; esac
            done </etc/environment
            [ -z "$proxies" ] || proxies=$(printf %s "$proxies" | cksum)
            [ -z "$stamp" ] || printf '%s\\n' "$came" "$known" "$stamp $proxies" >"$state$project/stamp"
            echo $found
            """;

    /**
     * As the guest's user, after lines that set settings (settings.xml, whole) and gradle (lines for gradle.properties),
     * either of them empty for none. What is not ours stays as it is: exit code 3 if that is settings.xml.
     */
    static final String FILES = """
            set -e
            umask 077
            ours() { [ ! -e "$1" ] || grep -q 'Written by sandbox' "$1"; }
            put() { # FILE TEXT
                if [ -n "$2" ]; then printf '%s' "$2" >"$1.new" && mv "$1.new" "$1"; else rm -f "$1"; fi
            }
            mkdir -p ~/.m2
            jdks=
            for jdk in /usr/lib/jvm/java-*-openjdk-*; do
                [ -x "$jdk/bin/javac" ] && [ ! -L "$jdk" ] || continue
                v=${jdk#/usr/lib/jvm/java-}
                jdks="$jdks<toolchain><type>jdk</type><provides><version>${v%%-*}</version></provides>
            <configuration><jdkHome>$jdk</jdkHome></configuration></toolchain>
            "
            done
            ! ours ~/.m2/toolchains.xml || put ~/.m2/toolchains.xml "${jdks:+<!-- Written by sandbox at each change. -->
            <toolchains>
            $jdks</toolchains>
            }"
            if [ -n "$gradle" ] || [ -e ~/.gradle/gradle.properties ]; then
                mkdir -p ~/.gradle
                f=~/.gradle/gradle.properties
                { [ ! -e $f ] || sed '/^# sandbox:/,/^# end of sandbox/d' $f; [ -z "$gradle" ] || echo "$gradle"; } >$f.new
                mv $f.new $f
            fi
            if ours ~/.m2/settings.xml; then put ~/.m2/settings.xml "$settings"; elif [ -n "$settings" ]; then exit 3; fi
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

    @Option(names = "--maven", paramLabel = "V", description = "This version of Maven, not the distribution's.")
    String mavenOption;

    @Option(names = "--maven-zip", paramLabel = "FILE", hidden = true,
            description = "Where its apache-maven-V-bin.zip is.")
    Path mavenZip;

    @Option(names = "--settings", paramLabel = "FILE", description = "Maven's settings here (default: ~/.m2's).")
    List<Path> settingsOption;

    @Option(names = "--profiles", paramLabel = "P,...", split = ",", description = "Profiles of it that are active.")
    List<String> profiles = List.of();

    @Option(names = "--tail", paramLabel = "DIR",
            description = "A mounted Maven repository to read from (maven.repo.local.tail).")
    Path tail;

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
        Path wrapper = project.resolve("mvnw");
        String maven = Files.isExecutable(wrapper) ? "none"
                : mavenOption != null ? mavenOption // asked for, so that a project can be made where none is yet
                        : Files.exists(project.resolve("pom.xml")) ? "any" : "none";
        if (print) {
            told(wanted, null, maven);
            return 0;
        }
        if (tail != null) {
            checkTail(Files.isExecutable(wrapper) ? Wanted.wrapped(project) : mavenOption);
        }
        Lima lima = new Lima(caller.env);
        String sandbox = running(lima, project);
        caller.say("JDK " + wanted.version() + ", because of " + wanted.why());
        String own = "/usr/local/lib/sandbox/maven-" + maven;
        List<String> is = lima.ssh(sandbox, Duration.ofMinutes(1), null, "grep -i '_proxy=' /etc/environment; test -d "
                + Lima.quote(own) + " || ls " + Lima.quote("/usr/share/maven/lib/maven-core-" + maven + ".jar")
                + " >/dev/null 2>&1 && echo maven").out().lines().toList();
        String zip = "";
        if (mavenZip != null && !maven.equals("none") && !is.contains("maven")) {
            zip = "/var/tmp/sandbox-maven-" + ProcessHandle.current().pid() + ".zip";
            caller.say("copying Maven " + maven + " into it");
            copy(lima, sandbox, mavenZip, zip);
        } else if (maven.equals(mavenOption) && !is.contains("maven")) {
            maven = "any";
        }
        List<Proxy> proxies = Proxy.of(is);
        proxies.stream().filter(p -> p.user != null).findFirst().ifPresent(
                p -> caller.say("Java has no setting for a proxy's password; only Maven and Gradle are told it"));
        String settings = settings(proxies);
        String header = set("want", "" + wanted.version()) + set("any", wanted.said() ? "0" : "1")
                + set("project", project.toString()) + set("maven", maven) + set("zip", zip) + set("stamp", stamp)
                + set("settled", Lima.hash(settings))
                + set("toolchains", Wanted.toolchains(project).stream().map(String::valueOf)
                        .collect(Collectors.joining(" ")))
                + set("network", block(proxies.stream().flatMap(p -> p.javaProperties("").stream())));
        Lima.Result r = lima.ssh(sandbox, Duration.ofMinutes(60), "uid=$1\n" + header + INSTALL,
                "sudo sh -s \"$(id -u)\"");
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
        putFiles(lima, sandbox, proxies, settings);
        told(wanted, found, maven);
        return 0;
    }

    /** Below 3.9 Maven does not know the setting, and says nothing. */
    private void checkTail(String version) {
        if (!Files.isDirectory(tail)) {
            throw new Lima.Failure(2, "there is no Maven repository " + tail);
        }
        if (version == null || version.matches("[12][.].*|3[.][0-8]([.-].*)?")) {
            throw new Lima.Failure(
                    "the repository of this computer can be read by Maven 3.9 or newer, and in the sandbox"
                            + " it would be " + (version == null ? "one of unknown version" : version)
                            + ": take a newer Maven or wrapper, or leave it out");
        }
    }

    private static void copy(Lima lima, String sandbox, Path from, String to) {
        Lima.Result r = Lima.io(() -> {
            Process ssh = lima.builder(lima.sshCommand(sandbox, List.of("-T"), "cat >" + to))
                    .redirectInput(from.toFile()).redirectErrorStream(true).start();
            String said = new String(ssh.getInputStream().readAllBytes(), UTF_8);
            return new Lima.Result(ssh.waitFor(), said, "");
        });
        if (r.code() != 0) {
            throw new Lima.Failure(from + " could not be copied into " + sandbox + ": " + r.out().strip());
        }
    }

    /** The guest's settings.xml. */
    private String settings(List<Proxy> proxies) {
        List<Path> files = settingsOption != null ? settingsOption
                : List.of(Path.of(caller.env.getOrDefault("HOME", "/"), ".m2/settings.xml"));
        return new Settings(files, profiles, caller::say).forGuest(proxies, tail);
    }

    /** The user's own files in the guest, which tell Maven and Gradle what the host's are told. */
    private void putFiles(Lima lima, String sandbox, List<Proxy> proxies, String settings) {
        Lima.Result r = lima.ssh(sandbox, Duration.ofMinutes(5), set("settings", settings)
                + set("gradle", block(proxies.stream().flatMap(p -> p.javaProperties("systemProp.").stream()))) + FILES,
                "sh -s");
        if (r.code() == 3 && tail == null) {
            caller.say("~/.m2/settings.xml in " + sandbox + " was written there, so this computer's is not taken over");
        } else if (r.code() == 3) {
            throw new Lima.Failure("~/.m2/settings.xml in " + sandbox + " was written there and stays as it is. For the"
                    + " repository of this computer it needs the property maven.repo.local.tail with the value "
                    + tail);
        } else if (r.code() != 0) {
            throw new Lima.Failure("the settings of Maven and Gradle could not be written in " + sandbox + ": "
                    + r.err().strip());
        }
    }

    private static String set(String name, String value) {
        return name + "=" + Lima.quote(value) + "\n";
    }

    /** Lines of ours in a file that is not. */
    private static String block(Stream<String> lines) {
        String text = lines.collect(Collectors.joining("\n"));
        return text.isEmpty() ? "" : "# sandbox: this machine's proxies\n" + text + "\n# end of sandbox";
    }

    private void told(Wanted wanted, Integer installed, String maven) {
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
        if (tail != null && !Caller.sees(is, tail)) {
            throw new Lima.Failure(2, tail + " is not mounted in the sandbox " + is.path("name").asText());
        }
        return caller.running(is);
    }

    /** A proxy of the guest's environment, for one protocol; user and password may be null. */
    record Proxy(String protocol, String host, int port, String user, String password, List<String> not) {
        /** Reads lines as {@code https_proxy=http://host:3128}, of which the lower-case ones win. */
        static List<Proxy> of(List<String> lines) {
            Map<String, String> set = new TreeMap<>();
            lines.stream().filter(l -> l.contains("=")).sorted().forEach(l -> set.put(
                    l.substring(0, l.indexOf('=')).toLowerCase(Locale.ROOT),
                    l.substring(l.indexOf('=') + 1).replaceAll("^[\"']|[\"']$", "")));
            // For Java a name has its * in front, and a network cannot be written.
            List<String> not = Stream.of(set.getOrDefault("no_proxy", "").split("[, ]+"))
                    .filter(n -> !n.isEmpty() && !n.contains("/")).map(n -> n.startsWith(".") ? "*" + n : n).toList();
            return Stream.of("http", "https").flatMap(protocol -> {
                try {
                    URI uri = URI.create(set.getOrDefault(protocol + "_proxy", ""));
                    String[] user = uri.getUserInfo() == null ? null : uri.getUserInfo().split(":", 2);
                    return uri.getHost() == null ? Stream.empty()
                            : Stream.of(new Proxy(protocol, uri.getHost(), uri.getPort() > 0 ? uri.getPort() : 80,
                                    user == null ? null : user[0], user == null || user.length < 2 ? null : user[1],
                                    not));
                } catch (IllegalArgumentException unreadable) {
                    return Stream.empty();
                }
            }).toList();
        }

        /** Lines of a properties file; with a prefix they are for Gradle, which also knows users. */
        List<String> javaProperties(String prefix) {
            String list = prefix.isEmpty() ? "http" : protocol; // Java has one list for both
            List<String> lines = new ArrayList<>(List.of(prefix + protocol + ".proxyHost=" + host,
                    prefix + protocol + ".proxyPort=" + port, prefix + list + ".nonProxyHosts=" + String.join("|",
                            Stream.concat(Stream.of("localhost", "127.*", "[::1]"), not.stream()).distinct()
                                    .toList())));
            if (user != null && !prefix.isEmpty()) {
                lines.add(prefix + protocol + ".proxyUser=" + user);
                lines.add(prefix + protocol + ".proxyPassword=" + (password == null ? "" : password));
            }
            return lines.stream().map(l -> l.replace("\\", "\\\\")).toList();
        }
    }

    /**
     * What of the host's settings.xml a guest gets: mirrors, proxies, and the repositories of active profiles. Never
     * servers, other properties of profiles, a proxy's user, and an address that may carry a secret.
     */
    static final class Settings {
        private static final List<String> POLICY = List.of("enabled", "updatePolicy", "checksumPolicy");

        private final List<Element> settings = new ArrayList<>();
        private final List<String> profiles;
        private final Consumer<String> left;

        /** @param files the first one wins; those that are not there are passed over */
        Settings(List<Path> files, List<String> profiles, Consumer<String> left) {
            this.profiles = profiles;
            this.left = left;
            files.stream().filter(Files::isRegularFile).forEach(file -> {
                try {
                    var factory = DocumentBuilderFactory.newInstance();
                    factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
                    var builder = factory.newDocumentBuilder();
                    builder.setErrorHandler(null); // else it prints
                    settings.add(builder.parse(file.toFile()).getDocumentElement());
                } catch (ParserConfigurationException | SAXException | IOException e) {
                    left.accept(file + " cannot be read, so nothing of it is taken over: " + e.getMessage());
                }
            });
        }

        /** The guest's settings.xml, whole; empty if there is nothing to say in it. TAIL may be null. */
        String forGuest(List<Proxy> environment, Path tail) {
            StringBuilder mirrors = new StringBuilder();
            unique("mirrors", "mirror").filter(m -> !text(m, "id").equals("maven-default-http-blocker")) // each has it
                    .filter(m -> isClean(m, "mirror"))
                    .forEach(m -> mirrors.append(element("mirror", copy(m, "id", "name", "url", "mirrorOf", "blocked",
                            "layout", "mirrorOfLayouts"))));
            StringBuilder proxies = new StringBuilder();
            unique("proxies", "proxy").forEach(p -> {
                if (!text(p, "username").isEmpty()) {
                    left.accept("the proxy " + text(p, "id") + " of settings.xml is taken over without its user");
                }
                proxies.append(element("proxy", copy(p, "id", "active", "protocol", "host", "port", "nonProxyHosts")));
            });
            if (proxies.isEmpty()) {
                environment.forEach(p -> proxies.append(element("proxy", element("id", escaped("sandbox-" + p.protocol))
                        + element("protocol", p.protocol) + element("host", escaped(p.host))
                        + element("port", "" + p.port)
                        + (p.user == null ? "" : element("username", escaped(p.user)))
                        + (p.password == null ? "" : element("password", escaped(p.password)))
                        + element("nonProxyHosts", escaped(String.join("|", p.not))))));
            }
            StringBuilder all = new StringBuilder();
            StringBuilder active = new StringBuilder();
            List<String> named = settings.stream().flatMap(s -> children(s, "activeProfiles"))
                    .flatMap(a -> children(a, "activeProfile")).map(a -> a.getTextContent().strip()).toList();
            unique("profiles", "profile").filter(p -> named.contains(text(p, "id")) || profiles.contains(text(p, "id"))
                    || children(p, "activation").anyMatch(a -> text(a, "activeByDefault").equals("true")))
                    .forEach(p -> {
                        String found = repositories(p, "repositories", "repository")
                                + repositories(p, "pluginRepositories", "pluginRepository");
                        if (!found.isEmpty() || profiles.contains(text(p, "id"))) {
                            all.append(element("profile", copy(p, "id") + found));
                            active.append(element("activeProfile", escaped(text(p, "id"))));
                        }
                    });
            if (tail != null) {
                all.append(element("profile", element("id", "sandbox-host-repository") + element("properties",
                        element("maven.repo.local.tail", escaped(tail.toString())))));
                active.append(element("activeProfile", "sandbox-host-repository"));
            }
            String body = Stream.of(Map.entry("mirrors", mirrors), Map.entry("proxies", proxies),
                    Map.entry("profiles", all), Map.entry("activeProfiles", active))
                    .filter(e -> !e.getValue().isEmpty()).map(e -> element(e.getKey(), e.getValue().toString()))
                    .collect(Collectors.joining());
            return body.isEmpty() ? ""
                    : "<!-- Written by sandbox at each change; one without these words stays as it is. -->\n"
                            + element("settings", body);
        }

        private String repositories(Element profile, String list, String item) {
            String found = children(profile, list).flatMap(l -> children(l, item)).filter(r -> isClean(r, item))
                    .map(r -> element(item, copy(r, "id", "name", "url", "layout")
                            + Stream.of("releases", "snapshots").flatMap(kind -> children(r, kind)
                                    .map(k -> element(kind, copy(k, POLICY.toArray(String[]::new)))))
                                    .collect(Collectors.joining())))
                    .collect(Collectors.joining());
            return found.isEmpty() ? "" : element(list, found);
        }

        /** An address with a user, a query or a variable may carry a secret, and a file's means nothing to a guest. */
        private boolean isClean(Element is, String what) {
            String url = text(is, "url");
            boolean clean = false;
            try {
                URI uri = URI.create(url);
                clean = uri.getHost() != null && uri.getUserInfo() == null && uri.getQuery() == null
                        && !url.contains("$") && !url.contains("@");
            } catch (IllegalArgumentException e) {
                // told below
            }
            if (!clean) {
                left.accept(
                        "the " + what + " " + text(is, "id") + " of settings.xml stays out: its address has a user, a"
                                + " query or a variable in it, or is a file");
            }
            return clean;
        }

        /** The items of a list in all files; of two with one id the first. */
        private Stream<Element> unique(String list, String item) {
            Map<String, Element> byId = new LinkedHashMap<>();
            settings.stream().flatMap(s -> children(s, list)).flatMap(l -> children(l, item))
                    .forEach(e -> byId.putIfAbsent(text(e, "id"), e));
            return byId.values().stream();
        }

        private static Stream<Element> children(Element parent, String name) {
            return IntStream.range(0, parent.getChildNodes().getLength()).mapToObj(parent.getChildNodes()::item)
                    .filter(n -> n instanceof Element && n.getNodeName().equals(name)).map(Element.class::cast);
        }

        private static String text(Element parent, String name) {
            return children(parent, name).findFirst().map(e -> e.getTextContent().strip()).orElse("");
        }

        private static String copy(Element from, String... names) {
            return Stream.of(names).filter(n -> !text(from, n).isEmpty())
                    .map(n -> element(n, escaped(n.matches("url|host") ? reachable(text(from, n)) : text(from, n))))
                    .collect(Collectors.joining());
        }

        /** What listens on the host's own loopback has another name in a guest. */
        private static String reachable(String address) {
            return address.replaceFirst("^([a-z]+://)?(localhost|127\\.0\\.0\\.1)(?=[:/]|$)", "$1host.lima.internal");
        }

        private static String element(String name, String content) {
            return "<" + name + ">" + content + "</" + name + ">" + (content.contains("<") ? "\n" : "");
        }

        private static String escaped(String text) {
            return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
        }
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

        private static final Pattern JDK_TOOLCHAIN = Pattern.compile("<version>\\s*[\\[(]?\\s*([0-9.]+)");
        private static final Pattern GRADLE_TOOLCHAIN = Pattern
                .compile("JavaLanguageVersion\\.of\\(\\s*\"?([0-9]+)|jvmToolchain\\(\\s*([0-9]+)");

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
            buildFiles(project).forEach((path, text) -> all(text, path.endsWith("pom.xml") ? POM : GRADLE)
                    .forEach(v -> bounds.add(new Wanted(v, path))));
            return bounds.stream().reduce((a, b) -> b.version > a.version ? b : a)
                    .map(w -> new Wanted(atLeast(w.version), w.version + " in " + w.why))
                    .orElse(new Wanted(21, UNSAID));
        }

        /** The versions that toolchains ask for, which have to be just these. */
        static Set<Integer> toolchains(Path project) {
            Set<Integer> versions = new TreeSet<>();
            buildFiles(project).forEach((path, text) -> (path.endsWith("pom.xml")
                    ? Stream.of(text.split("<jdk(?:Toolchain)?>")).skip(1).map(t -> t.split("</jdk", 2)[0])
                            .flatMap(t -> all(t, JDK_TOOLCHAIN).limit(1))
                    : all(text, GRADLE_TOOLCHAIN)).forEach(versions::add));
            return versions;
        }

        /** The Maven that a wrapper brings, null if its file does not say. */
        static String wrapped(Path project) {
            return Pattern.compile("(?m)^distributionUrl=.*apache-maven-([0-9][0-9A-Za-z.-]*)-bin[.]").matcher(
                    text(project.resolve(".mvn/wrapper/maven-wrapper.properties"))).results().map(m -> m.group(1))
                    .findFirst().orElse(null);
        }

        /** What the build files say, by path; of a large tree not all. */
        private static Map<String, String> buildFiles(Path project) {
            Map<String, String> texts = new LinkedHashMap<>();
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
                    if (String.valueOf(file.getFileName()).matches("pom\\.xml|build\\.gradle(\\.kts)?")) {
                        texts.put(project.relativize(file).toString(), text(file));
                    }
                    return ++files > MOST_FILES ? FileVisitResult.TERMINATE : FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult visitFileFailed(Path file, IOException e) {
                    return FileVisitResult.CONTINUE;
                }
            }));
            return texts;
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
