package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** {@code sandbox [OPTIONS] NAME [DIR] [COMMAND…]}: which word is what. */
class WordsTest {
    private static World world;
    private static Path project;
    private static Path sub;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("words");
        sub = World.directory(project.resolve("sub"));
        World.executable(project.resolve("gradlew"), "#!/bin/sh\nprintf '<%s>' \"$0\" \"$@\"\n");
        world.at(project).run("words", "true").exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("words");
    }

    // --- options, NAME, DIR, COMMAND ---

    static Stream<Arguments> linesWithOptions() {
        return Stream.of(
                "-q words DIR pwd",
                "words -q DIR pwd",
                "words DIR -q pwd",
                "--timeout 99s words -q DIR --no-keys pwd",
                "words DIR --timeout=99s pwd",
                "--name words DIR pwd",
                "--dir DIR words pwd",
                "words --dir DIR -- pwd",
                "words DIR -- pwd")
                .map(Arguments::of);
    }

    @ParameterizedTest
    @MethodSource("linesWithOptions")
    void optionsStandBeforeAndAfterNameAndDir(String line) {
        String[] words = line.replace("DIR", sub.toString()).split(" ");
        world.at(project).run(words).exits(0).out(sub + "\n");
    }

    static Stream<List<String>> commands() {
        return Stream.of(
                List.of("--help"),
                List.of("--version", "-h", "-V", "-q"),
                List.of("-p", "a b", "-c", "-r", "--resume"),
                List.of("--name", "x", "--mount", "/etc", "--rm", "--yes"),
                List.of("@/etc/hostname", "@@x", "@"),
                List.of("", "a", ""),
                List.of("--", "x", "--"),
                List.of("it's", "\"quoted\"", "$HOME", "`id`", "a\\nb", "*", "a\nb", "ü €", "!!", "~"),
                List.of("./sub", "/", "."));
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyWordAfterTheCommandsFirstIsTheCommands(List<String> arguments) {
        String[] words = Stream.concat(Stream.of("words", "printf", "<%s>"), arguments.stream()).toArray(String[]::new);
        world.at(project)
                .run(words)
                .exits(0)
                .out(arguments.stream().map(a -> "<" + a + ">").collect(Collectors.joining()));
    }

    @Test
    void aFileIsTheCommand() {
        world.at(project).run("words", "./gradlew", "test", "--info").exits(0).out("<./gradlew><test><--info>");
    }

    @Test
    void aDirectoryThatIsNotWrittenLikeAPathIsTheCommand() {
        World.directory(project.resolve("pwd"));
        world.at(project).run("words", "pwd").exits(0).out(project + "\n");
    }

    @Test
    void aTildeIsTheHomeDirectoryAlsoWhenTheShellLeftItAlone() {
        String typed = "~" + sub.toString().substring(world.home.toString().length());
        world.at(project).run("words", typed, "pwd").exits(0).out(sub + "\n");
    }

    @Test
    void upwardsIsADirectory() {
        world.at(sub).run("words", "..", "pwd").exits(0).out(project + "\n");
    }

    @Test
    void aWordThatIsNeitherFileNorDirectoryIsExplainedBothWays() {
        world.at(project)
                .run("words", "./mvnw", "test")
                .exits(2)
                .out("")
                .errHas("./mvnw", "directory", "file", "words -- ./mvnw");
    }

    @Test
    void afterDashesADirectoryIsTheCommand() {
        world.at(project).run("words", "--", "./sub").exits(126).errHas("irectory");
    }

    @Test
    void afterDashesAPathOfTheGuestAloneIsTheCommand() {
        world.at(project).run("words", "--", "./not-here").exits(127);
    }

    @Test
    void theWordAfterDirIsTheCommandEvenIfItIsADirectory() {
        world.at(project).run("words", ".", "./sub").exits(126).errHas("irectory");
    }

    @Test
    void dirThatIsMissingIsAnError() {
        world.at(project).run("--dir", "nowhere", "words", "true").exits(2).errHas("nowhere");
    }

    @Test
    void onlyThreeOptionsHaveOneLetter() {
        Cli.Result help = world.at(project).run("--help").exits(0).silent();
        TreeSet<String> letters = Pattern.compile("(?<=[ ,])-([A-Za-z])\\b(?=,)").matcher(help.out()).results()
                .map(m -> m.group(1))
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(new TreeSet<>(List.of("h", "V", "q")), letters);
        for (String letter : List.of("-p", "-c", "-r")) {
            world.at(project).run(letter, "words", "true").exits(2).errHas(letter);
        }
    }

    @Test
    void helpFitsOnATerminalAndNamesEveryDefault() {
        String help = world.at(project).run("-h").exits(0).silent().out();
        help.lines().forEach(line -> assertTrue(line.length() <= 80, line));
        for (String word : List.of("NAME", "DIR", "COMMAND", "SANDBOX_CPUS", "SANDBOX_MEMORY", "SANDBOX_DISK",
                "SANDBOX_TEMPLATE", "--mount", "--read-only", "--env", "--rm", "125")) {
            assertTrue(help.contains(word), word);
        }
    }

    @Test
    void versionGoesToStdout() {
        world.at(project).run("-V").exits(0).silent().outHas("sandbox 0.");
    }

    @Test
    void anUnknownOptionIsAUsageError() {
        world.at(project).run("--memroy", "2", "words", "true").exits(2).out("").errHas("--memroy", "--help");
    }

    @Test
    void anOptionWithoutItsValueIsAUsageError() {
        world.at(project).run("words", "--memory").exits(2).errHas("--memory");
    }

    @ParameterizedTest
    @MethodSource("badNames")
    void whatLimaRefusesAsANameIsRefusedBefore(String name) {
        world.at(project).run(name, "true").exits(2).errHas(name.isEmpty() ? "empty" : name);
    }

    static Stream<String> badNames() {
        return Stream.of("", "a b", "a--b", "a/b", "x.yaml", "ümlaut", "a".repeat(77), "_x");
    }

    // --- hints ---

    @Test
    void hintsAreSpelledAsTheCallerStartedUs() {
        Path bin = World.directory(world.root.resolve("bin"));
        World.link(bin.resolve("sandbox"), World.CHECKOUT.resolve("sandbox"));
        String path = bin + ":" + world.environment().get("PATH");
        Cli.Result onPath = Cli.start(
                project, with("PATH", path), List.of("sh", "-c", "sandbox words ./nothing"))
                .ends(java.time.Duration.ofSeconds(20))
                .exits(2);
        onPath.errHas(" sandbox words -- ./nothing").errLacks("/sandbox ");
        Cli.start(World.CHECKOUT, world.environment(), List.of("./sandbox", "words", "./nothing"))
                .ends(java.time.Duration.ofSeconds(20))
                .exits(2)
                .errHas(" ./sandbox words -- ./nothing");
        world.at(project).run("words", "./nothing").exits(2).errHas(" " + World.CHECKOUT + "/sandbox words --");
    }

    private static java.util.Map<String, String> with(String name, String value) {
        java.util.Map<String, String> environment = world.environment();
        environment.put(name, value);
        return environment;
    }

    // --- words that are never a name ---

    @ParameterizedTest
    @MethodSource("words")
    void aWordOfAnotherCommandIsNoName(String word, String meant) {
        world.at(project)
                .run("-q", word, "x", "y")
                .exits(2)
                .out("")
                .errHas(meant, "--name " + word);
        assertFalse(Files.exists(world.lima.resolve(word)));
    }

    static Stream<Arguments> words() {
        List<Arguments> all = new java.util.ArrayList<>();
        for (String verb : "list start stop delete edit clone cp".split(" ")) {
            all.add(Arguments.of(verb, "sandbox " + verb + " x y"));
        }
        for (String script : "snapshot docker-context doctor".split(" ")) {
            all.add(Arguments.of(script, "sandbox " + script + " x y"));
        }
        all.add(Arguments.of("sandbox", "sandbox x y"));
        all.add(Arguments.of("sandboxes", "sandbox"));
        all.add(Arguments.of("ls", "sandbox list"));
        all.add(Arguments.of("rm", "sandbox delete x y"));
        all.add(Arguments.of("help", "sandbox --help"));
        for (String word : "run create shell".split(" ")) {
            all.add(Arguments.of(word, "sandbox x y"));
        }
        for (String word : "mvn docker bash".split(" ")) {
            all.add(Arguments.of(word, "sandbox . " + word + " x y"));
        }
        return all.stream();
    }

    @Test
    void optionsOfACommandInNamesPlaceDoNotHideWhatWasMeant() {
        world.at(project).run("mvn", "-q", "test", "--batch-mode").exits(2)
                .errHas("sandbox . mvn -q test --batch-mode");
    }

    @Test
    void nameInsists() {
        Path other = world.project("insists");
        try {
            world.at(other).run("--name", "stop", ".", "pwd").exits(0).out(other + "\n");
            assertTrue(world.sandboxes().contains("stop"));
            world.at(other).run("--name", "stop", "printf", "<%s>", "--name", "x").exits(0).out("<--name><x>");
        } finally {
            world.delete("stop");
        }
    }

    // --- a directory in NAME's place ---

    @Test
    void aDotIsTheSandboxOfThisDirectory() {
        world.at(project).run(".", "pwd").exits(0).out(project + "\n").silent();
    }

    @Test
    void aDotInASubDirectoryRunsThere() {
        world.at(sub).run(".", "pwd").exits(0).out(sub + "\n");
    }

    @Test
    void aPathIsTheSandboxOfThatDirectory() {
        world.at(world.home).run(sub.toString(), "pwd").exits(0).out(sub + "\n");
        world.at(project).run("./sub", "printf", "%s", "--help").exits(0).out("--help");
        world.at(sub).run("..", "pwd").exits(0).out(project + "\n");
    }

    @Test
    void aFileInNamesPlaceIsExplained() {
        world.at(project).run("./gradlew", "test").exits(2).errHas("file", "sandbox . ./gradlew");
    }

    @Test
    void aMissingDirectoryInNamesPlaceIsExplained() {
        world.at(project).run("./gone", "true").exits(2).errHas("gone");
    }

    @Test
    void aDirectoryInNamesPlaceAndAnotherAreTooMany() {
        world.at(project).run(".", "./sub", "pwd").exits(2).errHas("two directories");
    }

    @Test
    void ofSeveralSandboxesWithThisDirectoryNoneIsTaken() {
        Path shared = world.project("several");
        try {
            world.at(shared).run("several1", "true").exits(0);
            world.at(shared).run("--yes", "several2", "true").exits(0);
            Path below = World.directory(shared.resolve("below"));
            world.at(below).run(".", "true").exits(2).errHas("sandbox several1", "sandbox several2");
        } finally {
            world.delete("several1", "several2");
        }
    }

    @Test
    void withoutASandboxOneIsMadeAtTheGitRootAndNamedAfterIt() {
        Path root = world.project("My App (2)!");
        World.directory(root.resolve(".git"));
        Path deep = World.write(root.resolve("src/main/file"), "").getParent();
        List<String> before = world.sandboxes();
        String name = "";
        try {
            world.at(deep).run(".", "ls").exits(0).out("file\n").errHas("my-app-2", root.toString());
            name = only(before);
            assertEquals("my-app-2", name);
            // the name is kept apart from that of another directory which is called the same
            Path twin = world.project("my-app-2");
            world.at(twin).run(".", "pwd").exits(0).out(twin + "\n");
            List<String> both = new java.util.ArrayList<>(before);
            both.add(name);
            String other = only(both);
            assertTrue(other.startsWith("my-app-2-"), other);
            assertEquals(List.of(twin + ":w"), world.mounts(other));
            world.delete(other);
        } finally {
            world.delete(name);
        }
    }

    @Test
    void aDirectoryWithAReservedNameGetsAnotherName() {
        Path stop = world.project("stop");
        List<String> before = world.sandboxes();
        world.at(stop).run(".", "true").exits(0);
        String name = only(before);
        world.delete(name);
        assertFalse(name.equals("stop"));
        assertTrue(name.startsWith("stop-"), name);
    }

    @Test
    void aModuleOfAMavenBuildMeansTheWholeBuild() {
        Path root = world.project("multi");
        World.write(root.resolve("pom.xml"), "<project><modules><module>core</module></modules></project>");
        World.write(root.resolve("core/pom.xml"), "<project/>");
        Path module = root.resolve("core");
        world.at(module).run(".", "pwd").exits(0).out(module + "\n");
        List<String> mounts = world.mounts("multi");
        world.delete("multi");
        assertEquals(List.of(root + ":w"), mounts);
    }

    @Test
    void aTypedPathIsMountedAsTypedWithAHint() {
        Path root = world.project("typed");
        World.directory(root.resolve(".git"));
        Path part = World.directory(root.resolve("part"));
        world.at(root).run("./part", "pwd").exits(0).out(part + "\n").errHas(part.toString(), "root is " + root);
        List<String> mounts = world.mounts("part");
        world.delete("part");
        assertEquals(List.of(part + ":w"), mounts);
    }

    @Test
    void aGitRootThatIsRefusedAsDirIsNotMounted() {
        Path home = world.project("dotfiles");
        World.directory(home.resolve(".git"));
        Path inside = World.directory(home.resolve("inside"));
        world.at(inside).env("HOME", home.toString()).run(".", "pwd").exits(0).out(inside + "\n");
        List<String> mounts = world.mounts("inside");
        world.delete("inside");
        assertEquals(List.of(inside + ":w"), mounts);
    }

    private static String only(List<String> before) {
        List<String> now = new java.util.ArrayList<>(world.sandboxes());
        now.removeAll(before);
        assertEquals(1, now.size(), () -> "one new sandbox: " + now);
        return now.get(0);
    }

    // --- an agent in NAME's place ---

    @Test
    void anAgentInNamesPlaceMeansThisDirectory() {
        world.at(project)
                .run("words", "sh", "-c", "mkdir -p ~/.local/bin; printf '#!/bin/sh\\nprintf \"<%%s>\" \"$@\"\\n'"
                        + " > ~/.local/bin/claude; chmod +x ~/.local/bin/claude")
                .exits(0);
        Cli.Result result = world.at(sub).run("claude", "--resume", "-p", "a b").exits(0).out("<--resume><-p><a b>");
        result.errHas("sandbox . claude --resume");
        assertEquals(1, Arrays.stream(result.err().split("\n")).filter(l -> l.contains("claude")).count(),
                result.err());
    }

    // --- nothing at all ---

    @Test
    void bareSandboxTellsUsageThisDirectorysSandboxAndTheOthers() {
        Cli.Result here = world.at(sub).run().exits(2).out("").errHas("Usage: ", "words", project.toString());
        Cli.Result elsewhere = world.at(world.home).run().exits(2).errHas("Usage: ", "words");
        assertTrue(here.err().indexOf("This directory") < here.err().indexOf("  words"), here.err());
        assertTrue(elsewhere.err().contains("no sandbox"), elsewhere.err());
        here.errLacks("base-");
    }

    // --- questions ---

    @Test
    void onATerminalANearMissIsAskedAbout() {
        Path other = world.project("near");
        try (Terminal terminal = world.at(other).terminal("word", "true")) {
            terminal.await("[y/N]").await("words").type("n").press("Enter").exits(125);
        }
        try (Terminal terminal = world.at(project).terminal("elsewhere", "true")) {
            terminal.await("[y/N]").await("words").press("Enter").exits(125);
        }
        assertFalse(world.sandboxes().contains("word"));
        assertFalse(world.sandboxes().contains("elsewhere"));
        try (Terminal terminal = world.at(other).terminal("word", "echo", "ma", "de")) {
            terminal.await("[y/N]").type("y").press("Enter").await("ma de").exits(0);
        }
        world.delete("word");
    }

    @Test
    void yesAnswersEveryQuestion() {
        try (Terminal terminal = world.at(project).terminal("--yes", "wordz", "echo", "ma", "de")) {
            terminal.await("ma de").exits(0);
        } finally {
            world.delete("wordz");
        }
    }
}
