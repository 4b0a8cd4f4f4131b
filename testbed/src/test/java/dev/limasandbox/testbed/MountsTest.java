package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What a sandbox sees of the host: what was asked, as it was asked, and nothing else. */
class MountsTest {
    private static World world;
    private static Path project;
    private static Path library;
    private static Path output;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("mounts");
        library = World.write(world.project("library").resolve("text"), "library").getParent();
        output = world.project("output");
        world.at(world.home)
                .run("mounts", "--mount", library.toString(), "--mount=" + output + ":w", project.toString(), "true")
                .exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("mounts");
    }

    private static Cli.Result shell(String script) {
        return world.at(project).run("mounts", "sh", "-c", script);
    }

    // --- what is asked ---

    @Test
    void onlyWhatWasAskedIsMounted() {
        assertEquals(
                Stream.of(library.toString(), output + ":w", project + ":w").sorted().toList(), world.mounts("mounts"));
        Path other = World.write(world.project("other").resolve("secret"), "secret");
        shell("cat " + other).exits(1).out("");
        shell("ls " + world.home + "/p/*/secret").exits(2);
    }

    @Test
    void theProjectIsWrittenFromBothSidesAtTheSamePath() {
        World.write(project.resolve("from-host"), "host");
        shell("cat from-host; echo guest > from-guest").exits(0).out("host");
        assertEquals("guest\n", World.read(project.resolve("from-guest")));
    }

    @Test
    void aMountIsReadOnlyUnlessItIsCalledWritable() {
        shell("cat " + library + "/text").exits(0).out("library");
        shell("echo x > " + library + "/text || sudo sh -c 'echo x > " + library + "/text'").exits(2);
        assertEquals("library", World.read(library.resolve("text")));
        shell("echo x > " + output + "/new").exits(0);
        assertEquals("x\n", World.read(output.resolve("new")));
    }

    @Test
    void readOnlyHoldsAgainstRootInTheGuest() {
        Path source = World.write(world.project("source").resolve("file"), "as it was").getParent();
        try {
            world.at(source)
                    .run("--read-only", "readonly", "sh", "-c", "cat file; echo no > file; sudo sh -c 'echo no > file;"
                            + " mount -o remount,rw .; rm -f file; chmod 777 .; touch new'; rm -rf ./*; exit 0")
                    .exits(0)
                    .out("as it was");
            assertEquals(List.of(source.toString()), world.mounts("readonly"));
            assertEquals("as it was", World.read(source.resolve("file")));
            assertFalse(Files.exists(source.resolve("new")));
            world.at(source).run("readonly", "--read-only", "cat", "file").exits(0).out("as it was");
            world.at(source).run("readonly", "sh", "-c", "echo no > file").exits(2);
        } finally {
            world.delete("readonly");
        }
    }

    @Test
    void mountNoneMountsNothing() {
        Path here = World.write(world.project("nothing").resolve("file"), "").getParent();
        try {
            world.at(here)
                    .run("--mount-none", "nothing", "sh", "-c", "ls " + here + " 2>&1; pwd; echo ~")
                    .exits(0)
                    .outHas("No such file");
            assertEquals(List.of(), world.mounts("nothing"));
            Cli.Result again = world.at(here).run("nothing", "sh", "-c", "test \"$PWD\" = ~").exits(0);
            again.errHas(here.toString(), "home");
        } finally {
            world.delete("nothing");
        }
    }

    @Test
    void mountNoneStandsAlone() {
        world.at(project).run("--mount-none", "--read-only", "never", "true").exits(2).errHas("--mount-none");
        world.at(project).run("--mount-none", "never", project.toString(), "true").exits(2).errHas("--mount-none");
        world.at(project).run("--mount-none", "--mount", library.toString(), "never").exits(2).errHas("--mount-none");
    }

    @Test
    void aMountThatIsMissingIsAnError() {
        world.at(project).run("--mount", "gone", "never", "true").exits(2).errHas("gone");
        assertFalse(world.sandboxes().contains("never"));
    }

    // --- a sandbox that exists ---

    @Test
    void whatWasNotedOfAnOpenSandboxIsNotBelievedOnceItsFileIsAnother() throws IOException {
        Path file = world.lima.resolve("mounts/lima.yaml");
        String before = World.read(file);
        String after = before.replace(output.toString(), output.toString().replaceFirst(".$", "X"));
        assertTrue(!after.equals(before) && after.length() == before.length(), before);
        FileTime time = Files.getLastModifiedTime(file);
        world.at(project).run("mounts", output.toString(), "true").exits(0);
        try {
            Files.setLastModifiedTime(World.write(file, after), time);
            world.at(project).run("mounts", output.toString(), "true").exits(125).errHas(output + " is not mounted");
        } finally {
            Files.setLastModifiedTime(World.write(file, before), time);
        }
        world.at(project).run("mounts", output.toString(), "true").exits(0);
    }

    static Stream<String> otherOptions() {
        return Stream.of(
                "--mount LIBRARY:w", "--mount .", "--read-only", "--mount-none", "--cpus 2", "--memory 0.5",
                "--disk 60", "--publish 12345");
    }

    @ParameterizedTest
    @MethodSource("otherOptions")
    void otherOptionsThanItWasMadeWithAreAnErrorThatNamesEdit(String options) {
        Path subject = World.directory(project.resolve("sub"));
        List<String> words = new java.util.ArrayList<>(
                List.of(options.replace("LIBRARY", library.toString()).split(" ")));
        words.addAll(List.of("mounts", "touch", "must-not-run"));
        world.at(subject)
                .run(words.toArray(String[]::new))
                .exits(125)
                .errHas("mounts", options.startsWith("--publish") ? "sandbox ports mounts" : "sandbox edit mounts");
        assertFalse(Files.exists(subject.resolve("must-not-run")));
    }

    @Test
    void whatIsOnlyForANewOneIsRefused() {
        world.at(project).run("--from", "x", "mounts", "true").exits(125).errHas("--from");
        world.at(project).run("--no-base", "mounts", "true").exits(125).errHas("--no-base");
        world.at(project).run("--template", "template:docker", "mounts", "true").exits(125).errHas("template");
    }

    @Test
    void theSameOptionsAsItWasMadeWithAreFine() {
        world.at(project)
                .run("--mount", library.toString(), "--mount", output + ":w", "--cpus", "1", "--memory", "0.25",
                        "--disk", "50", "mounts", "echo", "fine")
                .exits(0)
                .out("fine\n");
    }

    // --- from a directory that no mount covers ---

    @Test
    void aPlainCommandFromElsewhereRunsInTheFirstMount() {
        Path elsewhere = world.project("elsewhere");
        world.at(elsewhere)
                .run("mounts", "pwd")
                .exits(0)
                .out(project + "\n")
                .errHas(elsewhere.toString(), project.toString());
        world.at(elsewhere).input("pwd\n").run("mounts").exits(0).out(project + "\n");
    }

    @Test
    void anAgentFromElsewhereIsRefused() {
        Path elsewhere = world.project("elsewhere");
        world.at(elsewhere)
                .run("mounts", "claude", "--version")
                .exits(125)
                .out("")
                .errHas(elsewhere.toString(), project.toString(), "edit mounts --mount");
    }

    @Test
    void aTypedDirectoryThatIsNotMountedIsRefused() {
        Path elsewhere = world.project("elsewhere");
        world.at(project)
                .run("mounts", elsewhere.toString(), "pwd")
                .exits(125)
                .out("")
                .errHas(elsewhere.toString(), project.toString(), "edit mounts --mount");
    }

    // --- worktrees and symlinks ---

    @Test
    void aLinkedWorktreeHasGit() {
        Path main = world.project("main");
        world.run(main, "git", "init", "-q", ".");
        world.run(main, "git", "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m",
                "first one");
        Path tree = main.resolveSibling("tree");
        world.run(main, "git", "worktree", "add", "-q", tree.toString());
        try {
            world.at(tree)
                    .run("tree", "git", "log", "--format=%s")
                    .exits(0)
                    .out("first one\n")
                    .errHas("worktree", main.resolve(".git").toString(), "writ");
            assertEquals(
                    Stream.of(main.resolve(".git") + ":w", tree + ":w").sorted().toList(), world.mounts("tree"));
        } finally {
            world.delete("tree");
        }
    }

    @Test
    void aDirectoryTypedThroughASymlinkIsThereAtBothPaths() {
        Path real = World.write(world.project("real").resolve("file"), "seen").getParent();
        Path link = World.link(real.resolveSibling("link"), real);
        try {
            world.at(link)
                    .run("linked", "sh", "-c", "cat " + real + "/file " + link + "/file; echo new > " + link + "/new")
                    .exits(0)
                    .out("seenseen");
            assertEquals(List.of(real + ":w"), world.mounts("linked"));
            assertEquals("new\n", World.read(real.resolve("new")));
            world.stop("linked");
            world.at(world.home).run("linked", link.toString(), "cat", link + "/file").exits(0).out("seen");
        } finally {
            world.delete("linked");
        }
    }

    // --- refused directories ---

    static Stream<String> refused() {
        return Stream.of("/", "HOME", "HOME/..", "HOME/.ssh", "HOME/.ssh/sub", "LIMA", "LIMA/_config", "LIMA/..",
                "HOME/.gnupg", "HOME/.aws");
    }

    @ParameterizedTest
    @MethodSource("refused")
    void directoriesWithTooMuchAreRefused(String word) {
        World.directory(world.home.resolve(".ssh/sub"));
        World.directory(world.home.resolve(".gnupg"));
        World.directory(world.home.resolve(".aws"));
        String directory = word.replace("HOME", world.home.toString()).replace("LIMA", world.lima.toString());
        world.at(project).run("never", directory, "true").exits(125).out("").errHas("--force-dir");
        world.at(project).run("never", "--mount", directory, "true").exits(125).errHas("--force-dir");
        assertFalse(Files.exists(world.lima.resolve("never")));
    }

    @Test
    void aSymlinkToSuchADirectoryIsRefusedToo() {
        World.directory(world.home.resolve(".ssh"));
        Path link = World.link(world.project("x").resolve("keys"), world.home.resolve(".ssh"));
        world.at(project).run("never", link.toString(), "true").exits(125).errHas("--force-dir");
    }

    @Test
    void aDirectoryThatHoldsTheKeysIsRefused() {
        Path home = world.project("user");
        World.directory(home.resolve(".ssh"));
        // The home directory of the environment is another one, and this is where that one's keys are.
        world.at(home).env("HOME", home.resolve("inner").toString()).run("never", "true").exits(125)
                .errHas("--force-dir");
    }

    @Test
    void forceDirInsists() {
        Path aws = World.write(world.home.resolve(".aws/config"), "of mine").getParent();
        try {
            world.at(project).run("--force-dir", "forced", aws.toString(), "cat", "config").exits(0).out("of mine");
        } finally {
            world.delete("forced");
        }
    }

    @Test
    void aDirectoryOfSeveralRepositoriesIsAskedAbout() {
        Path all = world.project("all");
        World.directory(all.resolve("one/.git"));
        World.directory(all.resolve("two/.git"));
        world.at(all).run("all", "true").exits(125).errHas(all.toString(), "--yes");
        assertFalse(world.sandboxes().contains("all"));
    }

    @Test
    void aDirectoryThatAnotherRunningSandboxWritesIsAskedAbout() {
        world.at(project).run("second", "true").exits(125).errHas("mounts", "--yes");
        world.at(World.directory(project.resolve("sub"))).run("second", "true").exits(125).errHas("mounts", "--yes");
        assertFalse(world.sandboxes().contains("second"));
    }

    // --- git ---

    @Test
    void gitKnowsItsUserAndTheMount() {
        World.write(world.home.resolve(".gitconfig"),
                "[user]\n\tname = Zoë \\\"Z\\\" O'Neill\n\temail = zoe@example.org\n");
        Path repository = world.project("repo");
        world.run(repository, "git", "init", "-q", ".");
        try {
            world.at(repository)
                    .run("repo", "sh", "-c",
                            "git config user.name; git config user.email; git config --get-all safe.directory"
                                    + "; git commit -q --allow-empty -m x && git log --format='%an <%ae>'")
                    .exits(0)
                    .out("Zoë \"Z\" O'Neill\nzoe@example.org\n" + repository + "\n" + repository + "/*\n"
                            + "Zoë \"Z\" O'Neill <zoe@example.org>\n");
        } finally {
            world.delete("repo");
        }
    }

    // --- the guest proves its mounts ---

    @Test
    void anUnmountedDirectoryIsNeverEntered() {
        Path odd = world.project("not mounted");
        // A file is in the way of binding the directory to its place.
        Path template = World.write(world.project("t").resolve("t.yaml"), """
                base: template:_images/ubuntu-lts
                provision:
                - mode: system
                  script: |
                    #!/bin/sh
                    mkdir -p '%s'
                    touch '%s'
                """.formatted(odd.getParent(), odd));
        try {
            world.at(odd)
                    .run("--no-base", "--template", template.toString(), "unmounted", "touch", "written")
                    .exits(125)
                    .out("")
                    .errHas(odd.toString(), "not mounted");
            assertFalse(Files.exists(odd.resolve("written")));
            world.at(odd).run("unmounted", "touch", "written").exits(125).errHas("not mounted");
        } finally {
            world.delete("unmounted");
        }
    }

    @Test
    void noProbeIsLeftInAnEmptyDirectory() {
        Path empty = world.project("empty");
        try {
            world.at(empty).run("empty", "true").exits(0);
            assertEquals(0, empty.toFile().list().length, () -> List.of(empty.toFile().list()).toString());
        } finally {
            world.delete("empty");
        }
        assertTrue(Files.isDirectory(empty));
    }
}
