package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Rules about directories of the host. */
class PlacesTest {
    @TempDir
    Path folder;

    private Path root;
    private Path home;
    private Path lima;

    @BeforeEach
    void makeHome() throws IOException {
        root = folder.toRealPath();
        home = Files.createDirectories(root.resolve("users/me"));
        lima = Files.createDirectories(home.resolve(".lima"));
    }

    private String refusal(Path dir) {
        return Sandbox.Places.refusal(dir, lima, Hosts.host(home, Map.of()));
    }

    private Path make(String dir) throws IOException {
        return Files.createDirectories(root.resolve(dir));
    }

    // --- refusal ---

    @Test
    void theWholeComputerAndTheHomeAreRefused() {
        assertNotNull(refusal(Path.of("/")));
        assertNotNull(refusal(home));
        assertNotNull(refusal(home.getParent()));
        assertNotNull(refusal(root));
    }

    @ParameterizedTest
    @ValueSource(strings = {".ssh", ".gnupg", ".aws", ".kube", ".docker", ".lima", ".config"})
    void whereKeysAreIsRefused(String name) throws IOException {
        Files.createDirectories(home.resolve(name));
        assertNotNull(refusal(home.resolve(name)));
    }

    @Test
    void insideOfSuchADirectoryToo() throws IOException {
        assertNotNull(refusal(make("users/me/.ssh/keys")));
        assertNotNull(refusal(make("users/me/.lima/demo")));
    }

    @Test
    void limaHomeElsewhereIsRefusedAndSoIsWhatContainsIt() throws IOException {
        Path elsewhere = make("big/disk/lima");
        Sandbox.Host host = Hosts.host(home, Map.of("LIMA_HOME", elsewhere.toString()));
        assertNotNull(Sandbox.Places.refusal(elsewhere, elsewhere, host));
        assertNotNull(Sandbox.Places.refusal(elsewhere.getParent(), elsewhere, host));
        assertNull(Sandbox.Places.refusal(make("big/other"), elsewhere, host));
    }

    @Test
    void aDirectoryThatContainsTheKeysByASymlinkIsRefused() throws IOException {
        Path real = make("vault/ssh");
        Files.createSymbolicLink(home.resolve(".ssh"), real);
        assertNotNull(refusal(real));
        assertNotNull(refusal(real.getParent()));
    }

    @Test
    void projectsAreNot() throws IOException {
        assertNull(refusal(make("users/me/projects/app")));
        assertNull(refusal(make("users/me/projects")));
        assertNull(refusal(make("users/me/.sshuttle")));
        assertNull(refusal(make("users/other")));
    }

    // --- project root ---

    @Test
    void theGitRootIsTheProject() throws IOException {
        make("p/.git");
        assertEquals(root.resolve("p"), Sandbox.Places.projectRoot(make("p/a/b")));
        assertEquals(root.resolve("p"), Sandbox.Places.projectRoot(root.resolve("p")));
    }

    @Test
    void aWorktreesGitFileIsARootToo() throws IOException {
        Path deep = make("w/a");
        Files.writeString(root.resolve("w/.git"), "gitdir: /somewhere\n");
        assertEquals(root.resolve("w"), Sandbox.Places.projectRoot(deep));
    }

    @Test
    void theTopmostPomOfABuildIsTheProject() throws IOException {
        Path module = make("m/core/api");
        for (String dir : List.of("m", "m/core", "m/core/api")) {
            Files.writeString(root.resolve(dir).resolve("pom.xml"), "<project/>");
        }
        assertEquals(root.resolve("m"), Sandbox.Places.projectRoot(module));
    }

    @Test
    void gradlesSettingsAreARoot() throws IOException {
        Path module = make("g/app/src");
        Files.writeString(root.resolve("g/settings.gradle.kts"), "");
        assertEquals(root.resolve("g"), Sandbox.Places.projectRoot(module));
    }

    @Test
    void aPlainDirectoryIsItsOwnRoot() throws IOException {
        Path plain = make("plain/sub");
        assertEquals(plain, Sandbox.Places.projectRoot(plain));
    }

    // --- worktrees ---

    private void worktree(Path tree, Path common, Path back) throws IOException {
        Path own = Files.createDirectories(common.resolve("worktrees/tree"));
        Files.createDirectories(common.resolve("objects"));
        Files.writeString(common.resolve("HEAD"), "ref: refs/heads/main\n");
        Files.writeString(own.resolve("commondir"), "../..\n");
        Files.writeString(own.resolve("gitdir"), back + "\n");
        Files.writeString(tree.resolve(".git"), "gitdir: " + own + "\n");
    }

    @Test
    void aWorktreeHasItsMainCheckoutsGitDirectory() throws IOException {
        Path tree = make("tree");
        Path common = make("main/.git");
        worktree(tree, common, tree.resolve(".git"));
        assertEquals(Optional.of(common), Sandbox.Places.worktreeOf(tree));
    }

    @Test
    void aTreeThatOnlyClaimsToBeOneGetsNothing() throws IOException {
        Path tree = make("tree");
        Path common = make("main/.git");
        worktree(tree, common, make("other").resolve(".git"));
        assertEquals(Optional.empty(), Sandbox.Places.worktreeOf(tree));
    }

    @Test
    void aGitFileThatPointsAnywhereElseGetsNothing() throws IOException {
        Path tree = make("tree");
        Path keys = make("users/me/.ssh");
        Files.writeString(tree.resolve(".git"), "gitdir: " + keys + "\n");
        assertEquals(Optional.empty(), Sandbox.Places.worktreeOf(tree));
        Files.writeString(tree.resolve(".git"), "nonsense");
        assertEquals(Optional.empty(), Sandbox.Places.worktreeOf(tree));
    }

    @Test
    void anOrdinaryCheckoutIsNone() throws IOException {
        make("p/.git");
        assertEquals(Optional.empty(), Sandbox.Places.worktreeOf(root.resolve("p")));
        assertEquals(Optional.empty(), Sandbox.Places.worktreeOf(make("plain")));
    }

    // --- names ---

    private static String name(String dir, String... taken) throws IOException {
        List<Sandbox.Instance> all = new java.util.ArrayList<>();
        for (String other : taken) {
            all.add(Sandbox.Instance.of(new ObjectMapper().readTree("{\"name\":\"" + other + "\",\"dir\":\"/x\"}")));
        }
        return Sandbox.Places.nameFor(Path.of(dir), all, 60);
    }

    @ParameterizedTest
    @CsvSource({
            "/p/app, app", "/p/My App, my-app", "/p/x_y.z, x-y-z", "/p/--a--b--, a-b", "/p/ünï, n", "/p/日本, project",
            "/, project"
    })
    void aNameIsMadeOfTheDirectorys(String dir, String expected) throws IOException {
        assertEquals(expected, name(dir));
    }

    @Test
    void aTakenNameIsKeptApart() throws IOException {
        String other = name("/q/app", "app");
        assertTrue(other.matches("app-[0-9a-f]{4}"), other);
        assertNotEquals(other, name("/r/app", "app"));
        assertEquals(other, name("/q/app", "APP"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"stop", "list", "ls", "sandbox", "docker", "run", "claude", "codex"})
    void aReservedWordIsNeverAName(String word) throws IOException {
        assertTrue(name("/p/" + word).startsWith(word + "-"), name("/p/" + word));
    }

    @ParameterizedTest
    @ValueSource(ints = {20, 40, 60, 76})
    void noNameIsTooLong(int longest) {
        String name = Sandbox.Places.nameFor(Path.of("/p/" + "abc-".repeat(40)), List.of(), longest);
        assertTrue(name.length() <= longest && name.matches("[a-z0-9]+(-[a-z0-9]+)*"), name);
    }

    // --- near misses ---

    @ParameterizedTest
    @CsvSource({"app, app, 0", "app, apps, 1", "app, abp, 1", "app, pap, 2", "kitten, sitting, 3", "'', abc, 3",
            "abc, '', 3"})
    void distanceCountsLetters(String a, String b, int expected) {
        assertEquals(expected, Sandbox.Places.distance(a, b));
        assertEquals(expected, Sandbox.Places.distance(b, a));
    }
}
