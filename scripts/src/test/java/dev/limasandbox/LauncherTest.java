package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** ./sandbox in a checkout of its own, whose scripts only tell how they were called. */
class LauncherTest {
    private static final String SCRIPT = """
            package dev.limasandbox;

            class %1$s {
                public static void main(String[] args) throws Exception {
                    System.out.println("%1$s");
                    System.out.println(System.getProperty("sandbox.command"));
                    for (String arg : args) {
                        System.out.println("<" + arg + ">");
                    }
                    System.out.print(new String(System.in.readAllBytes()));
                    System.exit(args.length > 0 && args[0].equals("fail") ? 41 : 0);
                }
            }
            """;

    @TempDir
    private static Path temporary;

    /** The environment of a call that really builds. */
    private static final Map<String, String> REAL_MAVEN = Map.of("PATH", System.getenv("PATH"));

    /** A path that a careless script would tear apart. */
    private static Path checkout;

    private static Path launcher;
    private static Path script;
    private static Path target;

    /** Folder with a `mvn` that does no more than hand out the first build, as Maven takes seconds. */
    private static Path quickMaven;

    @BeforeAll
    static void makeACheckout() throws IOException {
        checkout = Files.createDirectories(temporary.resolve("it's a $HOME of my own"));
        for (String file : List.of("sandbox", "pom.xml", "scripts/pom.xml", ".mvn/jvm.config")) {
            Files.createDirectories(checkout.resolve(file).getParent());
            Files.copy(Programs.ROOT.resolve(file), checkout.resolve(file));
        }
        launcher = checkout.resolve("sandbox");
        script = checkout.resolve("scripts/sandbox.java");
        target = checkout.resolve("scripts/target");
        write("sandbox", "Sandbox");
        write("sandboxes", "Sandboxes");
        write("docker-context", "DockerContext");
        Programs.Result first = call(REAL_MAVEN, "input", "x").exits(0);
        assertTrue(first.out().endsWith("<x>\ninput"), first.out());
        assertTrue(first.err().startsWith("sandbox: building…"), first.err());

        quickMaven = Files.createDirectories(temporary.resolve("quick maven"));
        Path build = quickMaven.resolve("build");
        Programs.run(temporary, Map.of(), "",
                List.of("cp", "-R", target.resolve("launcher").toString(), build.toString()))
                .exits(0);
        Files.writeString(quickMaven.resolve("mvn"), """
                #!/bin/sh
                for word; do
                    case $word in
                        -Dbuild.folder=*) folder=${word#*=} ;;
                    esac
                done
                cat
                sleep 1
                cp -R "${0%/*}/build/." "$folder/"
                """);
        assertTrue(quickMaven.resolve("mvn").toFile().setExecutable(true));
    }

    @BeforeEach
    void isBuilt() {
        assertEquals("", call(Map.of(), "").exits(0).err());
    }

    @Test
    void passesEveryWordUntouched() {
        List<String> words = List.of("a b", "", "--help", "-Dx=y", "*", "$HOME", "it's \"so\"", "\\n", "ü", "--",
                "@file");
        List<String> lines = call(Map.of(), "", words.toArray(String[]::new))
                .exits(0)
                .out()
                .lines()
                .toList();
        assertEquals(words.stream().map(word -> "<" + word + ">").toList(), lines.subList(2, lines.size()));
    }

    @Test
    void passesInputAndExitCode() {
        assertTrue(call(Map.of(), "one\ntwo", "x").exits(0).out().endsWith("<x>\none\ntwo"));
        call(Map.of(), "", "fail").exits(41);
    }

    @Test
    void findsItselfThroughLinks() throws IOException {
        Path folder = Files.createDirectories(temporary.resolve("links/deep"));
        link(folder.resolve("relative"), Path.of("../absolute"));
        link(temporary.resolve("links/absolute"), launcher);
        link(temporary.resolve("links/folder"), Path.of("deep"));
        Map<String, String> calls = Map.of(
                "./relative", temporary.resolve("links/deep").toString(),
                "deep/relative", temporary.resolve("links").toString(),
                "links/folder/relative", temporary.toString(),
                "links/absolute", temporary.toString());
        calls.forEach((called, from) -> assertEquals(
                List.of("Sandbox", called, "<x>"),
                Programs.run(Path.of(from), Map.of(), "", List.of(called, "x"))
                        .exits(0)
                        .out()
                        .lines()
                        .toList()));
    }

    @Test
    void theNameItGivesCanBePasted() {
        String name = call(Map.of(), "").out().lines().toList().get(1);
        Programs.Result pasted = Programs.run(temporary, Map.of(), "", List.of("sh", "-c", name + " x"));
        assertEquals(
                List.of("Sandbox", name, "<x>"), pasted.exits(0).out().lines().toList());
    }

    @Test
    void byALinkOnThePathItIsCalledByItsNameAndPassesVerbsOn() throws IOException {
        Path bin = Files.createDirectories(temporary.resolve("bin"));
        link(bin.resolve("sandbox"), launcher);
        Map<String, String> path = Map.of("PATH", bin + ":" + System.getenv("PATH"));
        Map<String, List<String>> expected = Map.of(
                "sandbox x", List.of("Sandbox", "sandbox", "<x>"),
                "sandbox stop x", List.of("Sandboxes", "sandbox", "<stop>", "<x>"),
                "sandbox docker-context x", List.of("DockerContext", "sandbox docker-context", "<x>"));
        expected.forEach((typed, lines) -> assertEquals(lines,
                Programs.run(temporary, path, "", List.of("sh", "-c", typed)).exits(0).out().lines().toList()));
    }

    @Test
    void buildsAfterAChangeAndOnlyThen() throws IOException {
        touch(script);
        Programs.Result result = call(Map.of(), "input", "x").exits(0);
        assertTrue(result.out().endsWith("<x>\ninput"), result.out());
        assertEquals("sandbox: building…\n", result.err());
        assertEquals("", call(Map.of(), "").exits(0).err());
        noLeftovers();
    }

    @Test
    void aBuildThatFailsIsShownAndNothingOldRuns() throws IOException {
        Files.writeString(script, SCRIPT.formatted("Sandbox").replace("System.exit", "System.exitt"));
        touch(script);
        Programs.Result failed = call(REAL_MAVEN, "", "x").exits(125);
        assertEquals("", failed.out());
        assertTrue(failed.err().contains("exitt"), failed.err());
        assertTrue(failed.err().endsWith("sandbox: the build failed, see above\n"), failed.err());
        noLeftovers();

        Files.writeString(script, SCRIPT.formatted("Sandbox").replace("\"<\"", "\"[\""));
        touch(script);
        assertTrue(call(REAL_MAVEN, "", "x").exits(0).out().endsWith("[x>\n"));
        write("sandbox", "Sandbox");
        assertTrue(call(Map.of(), "", "x").exits(0).out().endsWith("<x>\n"));
    }

    @Test
    void severalAtOnceAfterAChange() throws IOException {
        touch(script);
        List<CompletableFuture<Programs.Result>> calls = Stream.generate(
                () -> CompletableFuture.supplyAsync(() -> call(Map.of(), "", "x")))
                .limit(4)
                .toList();
        long builds = 0;
        for (var call : calls) {
            Programs.Result result = call.join().exits(0);
            assertTrue(result.out().endsWith("<x>\n"), result.out());
            builds += result.err().lines().filter("sandbox: building…"::equals).count();
        }
        assertEquals(1, builds, "builds");
        noLeftovers();
    }

    @Test
    void aLockThatWasLeftIsTakenOver() throws Exception {
        Process dead = new ProcessBuilder("true").start();
        dead.waitFor();
        Files.createDirectories(target.resolve("launcher.lock"));
        Files.writeString(target.resolve("launcher.lock/pid"), dead.pid() + "\n");
        touch(script);
        call(Map.of(), "").exits(0);
        Files.createDirectories(target.resolve("launcher.lock"));
        touch(script);
        call(Map.of(), "").exits(0);
        noLeftovers();
    }

    @Test
    void takesWhatMavenBuilt() throws IOException {
        touch(script);
        Programs.run(
                checkout,
                Map.of(),
                "",
                List.of(
                        "mvn",
                        "-B",
                        "-q",
                        "-f",
                        "scripts/pom.xml",
                        "package",
                        "-Dmaven.test.skip",
                        "-DskipErrorprone"))
                .exits(0);
        assertEquals("", call(Map.of("PATH", toolsWithout("mvn")), "").exits(0).err());
        noLeftovers();
    }

    @Test
    void runsFromAReadOnlyCheckout() throws IOException {
        assumeFalse("root".equals(System.getProperty("user.name")), "root may write everywhere");
        List<Path> folders;
        try (var files = Files.walk(checkout)) {
            folders = files.filter(file -> Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS))
                    .toList();
        }
        folders.forEach(folder -> assertTrue(folder.toFile().setWritable(false)));
        try {
            assertTrue(call(Map.of(), "", "x").exits(0).out().endsWith("<x>\n"));
            touch(script);
            Programs.Result stale = call(Map.of(), "", "x").exits(125);
            assertTrue(stale.err().contains("cannot be written"), stale.err());
        } finally {
            folders.forEach(folder -> assertTrue(folder.toFile().setWritable(true)));
        }
        call(Map.of(), "").exits(0);
    }

    @Test
    void wordsOfOtherScriptsGoThere() throws IOException {
        assertEquals(List.of("Sandboxes", "./sandbox", "<list>", "<a>"), lines("list", "a"));
        assertEquals(List.of("DockerContext", "./sandbox docker-context", "<a>"), lines("docker-context", "a"));
        assertEquals(List.of("Sandbox", "./sandbox", "<x>", "<list>"), lines("x", "list"));
        assertEquals(List.of("Sandboxes", "./sandbox", "<--completion>"), lines("sandboxes", "--completion"));
        assertEquals(List.of("Sandbox", "./sandbox", "<doctor>"), lines("doctor"), "there is no doctor.java here");
        Files.delete(checkout.resolve("scripts/sandboxes.java"));
        assertEquals(List.of("Sandbox", "./sandbox", "<list>", "<a>"), lines("list", "a"));
        write("sandboxes", "Sandboxes");
        call(Map.of(), "").exits(0);
    }

    @Test
    void saysWhatIsMissing() throws IOException {
        Map<String, String> noJava = new HashMap<>();
        noJava.put("PATH", toolsWithout("java"));
        noJava.put("JAVA_HOME", null);
        oneLine("sandbox: Java is missing; install a JDK, 17 or newer", call(noJava, ""));

        Path home = temporary.resolve("nowhere");
        oneLine("sandbox: JAVA_HOME is " + home, call(Map.of("JAVA_HOME", home.toString()), ""));

        for (String version : List.of("1.8.0_442", "11.0.2", "16")) {
            Path old = temporary.resolve("java " + version + "/bin/java");
            Files.createDirectories(old.getParent());
            Files.writeString(old, "#!/bin/sh\necho 'openjdk version \"" + version + "\" 2019-01-15' >&2\n");
            assertTrue(old.toFile().setExecutable(true));
            String number = version.startsWith("1.8") ? "8" : version.replaceAll("\\..*", "");
            oneLine(
                    "sandbox: " + old + " is Java " + number + "; install a JDK, 17 or newer",
                    call(Map.of("JAVA_HOME", old.getParent().getParent().toString()), ""));
        }

        touch(script);
        oneLine("sandbox: Maven is missing; install it", call(Map.of("PATH", toolsWithout("mvn")), ""));
        call(Map.of(), "").exits(0);
    }

    private static void oneLine(String beginning, Programs.Result result) {
        result.exits(125);
        assertEquals("", result.out());
        assertEquals(1, result.err().lines().count(), result.err());
        assertTrue(result.err().startsWith(beginning), result.err());
    }

    /** A PATH with the programs of this machine's PATH except one. */
    private static String toolsWithout(String program) throws IOException {
        Path folder = Files.createTempDirectory(temporary, "tools");
        for (String tool : List.of(
                "sh",
                "bash",
                "readlink",
                "sed",
                "mkdir",
                "chmod",
                "mktemp",
                "cp",
                "mv",
                "rm",
                "touch",
                "cat",
                "sleep",
                "java",
                "mvn")) {
            for (String bin : System.getenv("PATH").split(":", -1)) {
                Path file = Path.of(bin, tool);
                if (!tool.equals(program) && Files.isExecutable(file) && !Files.exists(folder.resolve(tool))) {
                    link(folder.resolve(tool), file);
                }
            }
        }
        return folder.toString();
    }

    private static void noLeftovers() throws IOException {
        try (var files = Files.list(target)) {
            List<String> names = files.map(file -> file.getFileName().toString())
                    .filter(name -> name.startsWith("launcher"))
                    .toList();
            assertEquals(List.of("launcher"), names);
        }
    }

    private static void write(String name, String type) throws IOException {
        Path file = checkout.resolve("scripts/" + name + ".java");
        Files.writeString(file, SCRIPT.formatted(type));
        touch(file);
    }

    /** Newer than any build until now, and not newer than the next: some shells compare whole seconds. */
    private static void touch(Path file) throws IOException {
        Path jar = target.resolve("launcher/sandbox-scripts.jar");
        if (Files.exists(jar)) {
            Files.setLastModifiedTime(jar, FileTime.from(Instant.now().minusSeconds(20)));
            Path maven = target.resolve("sandbox-scripts.jar");
            if (Files.exists(maven)) {
                Files.setLastModifiedTime(maven, FileTime.from(Instant.now().minusSeconds(20)));
            }
        }
        Files.setLastModifiedTime(file, FileTime.from(Instant.now().minusSeconds(10)));
    }

    private static void link(Path link, Path to) throws IOException {
        Files.deleteIfExists(link);
        Files.createSymbolicLink(link, to);
    }

    private static List<String> lines(String... words) {
        List<String> command = new ArrayList<>(List.of("./sandbox"));
        command.addAll(List.of(words));
        return Programs.run(checkout, Map.of(), "", command)
                .exits(0)
                .out()
                .lines()
                .toList();
    }

    private static Programs.Result call(Map<String, String> environment, String input, String... words) {
        List<String> command = new ArrayList<>(List.of(launcher.toString()));
        command.addAll(List.of(words));
        Map<String, String> all = new HashMap<>();
        all.put("PATH", quickMaven + ":" + System.getenv("PATH"));
        all.putAll(environment);
        return Programs.run(temporary, all, input, command);
    }
}
