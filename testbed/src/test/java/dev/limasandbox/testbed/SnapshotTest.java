package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Snapshots: data written in the sandbox before and after one, rolled back and compared, by both methods. */
class SnapshotTest {
    private static final World WORLD = World.shared();

    private static Cli.Result snapshot(String... words) {
        List<String> all = new ArrayList<>(List.of("snapshot"));
        all.addAll(List.of(words));
        return WORLD.cli().run(all.toArray(String[]::new));
    }

    private static void make(String name, Path dir, String data) {
        WORLD.at(dir).run("--yes", name, ".", "sh", "-c", "echo " + data + " >~/data").exits(0);
    }

    private static String data(String name) {
        return WORLD.cli().run(name, "--", "cat", "/home/" + System.getProperty("user.name") + ".guest/data").exits(0)
                .out().strip();
    }

    private static void write(String name, String data) {
        WORLD.cli().run(name, "--", "sh", "-c", "echo " + data + " >~/data").exits(0);
    }

    private static String tags(String name) {
        return String.join(" ", snapshot("list", name, "-q").exits(0).out().split("\n"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"internal", "copy"})
    void rollsBackAndForth(String method) {
        String name = "roll-" + method;
        Path dir = WORLD.project(name);
        try {
            make(name, dir, "v1");
            snapshot("create", name, "one", "--method", method).exits(0)
                    .errHas("stopping " + name, "started again", "created the snapshot one", method, dir.toString());
            assertEquals("Running", WORLD.status(name));
            snapshot("create", name, "--tag", "one").exits(125).errHas("already", "snapshot apply " + name + " one",
                    "snapshot delete " + name + " one").errLacks("stopping");
            write(name, "v2");
            WORLD.stop(name);
            WORLD.limactl("edit", "--tty=false", "--cpus", "2", "--disk", "60", name);
            snapshot("apply", name, "one").exits(0).errHas("back at one", "before-apply", dir.toString())
                    .errLacks("stopping");
            assertEquals("Stopped", WORLD.status(name));
            assertEquals("v1", data(name));
            assertEquals("2 " + (60L << 30), WORLD.limactl("list", "--format", "{{.CPUs}} {{.Disk}}", name));
            assertTrue(WORLD.run(WORLD.root, "qemu-img", "info", "-U", WORLD.lima.resolve(name + "/disk").toString())
                    .contains("60 GiB"), "a grown disk stays grown");
            assertEquals(List.of(dir + ":w"), WORLD.mounts(name));
            assertEquals("one before-apply", tags(name));

            write(name, "v3");
            snapshot("apply", name, "before-apply").exits(0).errHas("stopping " + name);
            assertEquals("v2", data(name));
            snapshot("apply", name, "before-apply").exits(0);
            assertEquals("v3", data(name));
            snapshot("apply", name, "one", "--no-keep").exits(0);
            assertEquals("v1", data(name));
            assertEquals("one before-apply", tags(name));

            snapshot("delete", name, "before-apply").exits(0).errHas("deleted the snapshot before-apply");
            snapshot("delete", name, "before-apply").exits(2).errHas("no snapshot before-apply", "one");
            snapshot("apply", name).exits(2).errHas("which one?", "one");
            snapshot("apply", name, "nope").exits(2).errHas("no snapshot nope", "one");
            var json = new ObjectMapper().readTree(snapshot("list", name, "--json").exits(0).out());
            assertEquals("one " + method, json.path(0).path("tag").asText() + " "
                    + json.path(0).path("method").asText());
            assertEquals(json.path(0), new ObjectMapper()
                    .readTree(WORLD.lima.resolve("_sandbox/snapshots/" + name + "/one/meta.json").toFile()));
            snapshot("delete", name, "one").exits(0);
            snapshot("list", name).exits(0).out("").errHas("no snapshots of " + name, "create " + name);
            assertFalse(Files.exists(WORLD.lima.resolve("_sandbox/snapshots/" + name + "/one")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            WORLD.delete(name);
        }
    }

    /** Runs with programs in front of the real ones that kill whoever calls the Nth of them before it does anything. */
    private static boolean killedAt(int n, String... words) {
        return killedAt("*/limactl\\ snapshot*|*/cp*|*/rm*", n, WORLD.cli(), words).exit() == 137;
    }

    /** The same for the Nth call that is like a pattern of the shell. */
    private static Cli.Result killedAt(String calls, int n, Cli cli, String... words) {
        Path bin = WORLD.root.resolve("kill");
        Path count = WORLD.root.resolve("count");
        for (String program : List.of("cp", "rm", "limactl", "git")) {
            World.executable(bin.resolve(program), "#!/bin/sh\n"
                    + "case \"$0 $*\" in " + calls + ")\n"
                    + "  echo >>" + count + "; [ $(wc -l <" + count + ") != " + n + " ] ||"
                    + " { kill -9 $PPID; [ $1 != start ] || exit; }\nesac\n"
                    + "PATH=${PATH#*:}; exec " + program + " \"$@\"\n");
        }
        World.write(count, "");
        List<String> all = new ArrayList<>(List.of("snapshot"));
        all.addAll(List.of(words));
        return cli.env("PATH", bin + ":" + WORLD.environment().get("PATH")).run(all.toArray(String[]::new));
    }

    @ParameterizedTest
    @ValueSource(strings = {"internal", "copy"})
    void killedAtAnyPointItIsTheOldStateOrTheNew(String method) {
        String name = "kill-" + method;
        try {
            make(name, WORLD.project(name), "v1");
            WORLD.stop(name);
            int points = 0;
            for (boolean killed = true; killed; points++) {
                killed = killedAt(points + 1, "create", name, "one", "--method", method);
                if (killed && !tags(name).contains("one")) {
                    snapshot("create", name, "one", "--method", method).exits(0);
                }
                assertEquals("one", tags(name));
                if (killed) {
                    snapshot("delete", name, "one").exits(0);
                }
            }
            assertTrue(points > 2, "kills while it was created: " + points);
            write(name, "v2");
            WORLD.stop(name);
            points = 0;
            for (boolean killed = true; killed; points++) {
                killed = killedAt(points + 1, "apply", name, "one");
                snapshot("apply", name, "one").exits(0);
                assertEquals("one before-apply", tags(name));
                if (points % 4 == 3) {
                    assertEquals("v1", data(name));
                    WORLD.stop(name);
                }
                snapshot("apply", name, "before-apply").exits(0); // v2, whatever was killed
                if (points % 4 == 3 || !killed) {
                    assertEquals("v2", data(name), "what was replaced is kept, at point " + points);
                    WORLD.stop(name);
                }
            }
            assertTrue(points > 3, "kills while it was applied: " + points);
            for (String hidden : List.of(".part", ".apply")) {
                assertFalse(Files.exists(WORLD.lima.resolve("_sandbox/snapshots/" + name).resolve(hidden)), hidden);
            }
        } finally {
            WORLD.delete(name);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"stop", "start"})
    void whatAKilledCallStoppedRunsAgain(String point) {
        String name = "owed-" + point;
        try {
            make(name, WORLD.project(name), "v1");
            assertEquals(137, killedAt("*/limactl\\ " + point + "\\ *", 1, WORLD.cli(), "create", name, "one").exit());
            if (point.equals("start")) {
                assertEquals("Stopped", WORLD.status(name));
                snapshot("list", name).exits(0).errHas("interrupted call left " + name + " stopped", " start " + name);
            }
            snapshot("create", name, "one").exits(point.equals("start") ? 125 : 0);
            assertEquals("Running", WORLD.status(name));
            assertEquals("one", tags(name));
            WORLD.stop(name);
            snapshot("delete", name, "one").exits(0);
            assertEquals("Stopped", WORLD.status(name), "nothing is left to be started");
        } finally {
            WORLD.delete(name);
        }
    }

    @Test
    void anApplyThatWasNotDecidedIsForgotten() {
        String name = "undecided";
        Path kept = WORLD.lima.resolve("_sandbox/snapshots/" + name);
        try {
            make(name, WORLD.project(name), "v1");
            World.write(kept.resolve(".apply/new/disk"), "no disk at all");
            World.write(kept.resolve(".apply/keep/meta.json"), "{}");
            snapshot("create", name, "one", "--method", "copy").exits(0);
            assertEquals("one", tags(name));
            assertEquals("v1", data(name));
        } finally {
            WORLD.delete(name);
        }
    }

    @Test
    void openSessionsAreNamedAndNotEnded() {
        String name = "busy";
        try {
            make(name, WORLD.project(name), "v1");
            Cli.Running session = WORLD.cli().start(name, "--", "sh", "-c", "echo on; read line; echo $line");
            session.awaitOut("on");
            snapshot("create", name, "one").exits(125).errHas("open in busy: sh, 0 min", "--force", "--when-idle");
            Cli.Running waits = WORLD.cli().start("snapshot", "create", name, "one", "--when-idle");
            waits.awaitErr("waiting for the end of sh");
            assertEquals("", tags(name));
            session.type("bye\n".getBytes(java.nio.charset.StandardCharsets.UTF_8))
                    .ends(java.time.Duration.ofSeconds(30))
                    .exits(0);
            waits.ends(java.time.Duration.ofSeconds(60)).exits(0);
            assertEquals("one", tags(name));
        } finally {
            WORLD.delete(name);
        }
    }

    @Test
    void whatCannotBeIsRefusedClearly() {
        String base = WORLD.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow();
        Path template = World.write(WORLD.root.resolve("foreign.yaml"), "vmType: qemu\nimages: [{location: \""
                + "https://example.com/i.img\"}]\n");
        try {
            WORLD.limactl("create", "--tty=false", "--name", "foreign", template.toString());
            snapshot("create", "foreign", "one").exits(125).errHas("not made by this tool", "--foreign");
            snapshot("create", "foreign", "one", "--foreign").exits(0);
            assertEquals("one", tags("foreign"));
            snapshot("create", "missing", "one").exits(2).errHas("no sandbox missing", "there are: ");
            snapshot("create", base, "one").exits(2).errHas("is a base");
            for (String bad : List.of("1", "-x", "a b", "../x", "before-apply", "x/y", "")) {
                snapshot("create", "foreign", "--tag=" + bad, "--foreign").exits(2);
            }
            snapshot("create").exits(2).errHas("NAME", "Usage: ", "--help");
            snapshot("create", "foreign", "two", "--foreign", "--method", "magic").exits(2).errHas("magic");
            World.write(WORLD.lima.resolve("foreign/qemu.pid"), "" + ProcessHandle.current().pid());
            snapshot("create", "foreign", "two", "--foreign").exits(125).errHas("broken");
        } finally {
            WORLD.lima.resolve("foreign/qemu.pid").toFile().delete();
            WORLD.delete("foreign");
        }
    }

    @Test
    void aTrialCanBeEndedLaterWhateverCutItShort() {
        String name = "later";
        Path dir = WORLD.project(name);
        Path note = WORLD.lima.resolve("_sandbox/trials/" + name + ".json");
        try {
            World.write(dir.resolve("f"), "one\n");
            WORLD.run(dir, "sh", "-c", "git init -q -b main . && git config user.email a@b && git config user.name me"
                    + " && git add -A && git commit -qm first");
            make(name, dir, "v1");
            WORLD.stop(name);
            Cli.Result cut = killedAt("*/limactl\\ snapshot\\ apply*", 1, WORLD.at(dir), "try", name, "--discard", "--",
                    "sh", "-c", "echo two >f; echo new >g; echo v2 >~/data");
            assertEquals(137, cut.exit(), cut.toString());
            WORLD.at(dir).run("snapshot", "try", name, "--discard", "--", "true").exits(2)
                    .errHas("a trial is open in " + name, "--discard");
            WORLD.at(dir).run("snapshot", "try", name, "--discard").exits(0).errHas("discarded");
            assertUndone(dir, name);
            WORLD.at(dir).run("snapshot", "try", name, "--discard").exits(2).errHas("no trial is open in " + name);

            Cli.Running killed = WORLD.at(dir).start("snapshot", "try", name, "--keep", "--", "sh", "-c",
                    "echo two >f; echo on; exec sleep 300");
            killed.awaitOut("on").signal("KILL"); // the session holds on
            WORLD.at(dir).run("snapshot", "try", name, "--discard").exits(125).errHas("open in later: sh", "--force");
            WORLD.at(dir).run("snapshot", "try", name, "--discard", "--force").exits(0);
            killed.ends(java.time.Duration.ofSeconds(30));
            assertUndone(dir, name);

            try (Terminal terminal = WORLD.at(dir).terminal("snapshot", "try", name, "--", "sh", "-c", "echo two >f")) {
                terminal.await("keep or discard what it did? [k/d]").closeWindow();
            }
            assertTrue(Files.exists(note));
            try (Terminal terminal = WORLD.at(dir).terminal("snapshot", "try", name)) {
                terminal.await("[k/d]").type("x").press("Enter");
                World.await(10, "it asks again", () -> terminal.screen().split("k/d", -1).length > 2);
                terminal.type("k").press("Enter").await("kept on the branch agent/").exits(0);
            }
            assertFalse(Files.exists(note));
            assertEquals("two\n", World.read(dir.resolve("f")));
        } finally {
            WORLD.delete(name);
        }
    }

    private static void assertUndone(Path dir, String name) {
        assertEquals("* main", WORLD.run(dir, "git", "branch").strip());
        assertEquals("", WORLD.run(dir, "git", "status", "--short").strip());
        assertEquals("one\n", World.read(dir.resolve("f")));
        assertEquals("v1", data(name));
        assertEquals("", tags(name).replace("before-apply", ""));
    }

    @Test
    void aTrialIsDiscardedOrKept() {
        String name = "trial";
        Path dir = WORLD.project(name);
        Path evil = WORLD.root.resolve("evil");
        try {
            World.write(dir.resolve("f"), "one\n");
            World.write(dir.resolve(".gitignore"), "*.log\n");
            WORLD.run(dir, "sh", "-c", "git init -q -b main . && git config user.email a@b && git config user.name me"
                    + " && git add -A && git commit -qm first");
            make(name, dir, "v1");
            World.write(dir.resolve("f"), "dirty\n");
            attempt(dir, "", "--keep").exits(125).errHas("not committed", "git stash");
            World.write(dir.resolve("f"), "one\n");
            attempt(dir, "", "").exits(2).errHas("--keep and --discard");

            // What an agent may have left in the repository, so that git of the host runs it.
            String touch = "touch " + evil + "; cat";
            World.write(dir.resolve(".git/info/attributes"), "* filter=evil\n");
            World.executable(dir.resolve(".git/hooks/post-checkout"), "#!/bin/sh\n" + touch + "\n");
            World.executable(dir.resolve(".git/hooks/reference-transaction"), "#!/bin/sh\n" + touch + "\n");
            WORLD.run(dir, "sh", "-c", "git config filter.evil.clean '" + touch + "' && git config filter.evil.smudge '"
                    + touch + "' && git config core.fsmonitor '" + touch + "'");
            evil.toFile().delete();
            attempt(dir, "echo v2 >~/data; echo two >f; echo x >a.log; G='git -c core.fsmonitor=false"
                    + " -c core.hooksPath=/dev/null'; $G commit -qam agents; echo new >g; exit 3", "--discard")
                    .exits(3).errHas("agent/try-", "refs/sandbox/discarded/try-");
            assertFalse(Files.exists(evil), "the host's git ran what the repository names");
            WORLD.run(dir, "sh", "-c", "rm .git/hooks/* .git/info/attributes; git config --unset core.fsmonitor;"
                    + " git config --remove-section filter.evil");
            assertEquals("", WORLD.run(dir, "git", "status", "--short").strip());
            assertEquals("* main", WORLD.run(dir, "git", "branch").strip());
            assertEquals("one\n", World.read(dir.resolve("f")));
            assertFalse(Files.exists(dir.resolve("g")));
            String ref = WORLD.run(dir, "git", "for-each-ref", "--format=%(refname)", "refs/sandbox").strip();
            assertEquals("new", WORLD.run(dir, "git", "show", ref + ":g").strip());
            assertEquals("agents", WORLD.run(dir, "git", "log", "-1", "--format=%s", ref + "^").strip());
            assertEquals("v1", data(name));
            assertEquals("before-apply", tags(name));

            attempt(dir, "echo kept >h; echo v3 >~/data", "--keep").exits(0)
                    .errHas("git switch main && git merge agent/");
            assertEquals("", WORLD.run(dir, "git", "status", "--short").strip());
            assertEquals("kept", WORLD.run(dir, "sh", "-c", "git switch -q main && git show agent/*:h"
                    .replace("agent/*", "$(git branch --list 'agent/*' --format='%(refname)')")).strip());
            assertEquals("v3", data(name));
            assertEquals("before-apply", tags(name));
        } finally {
            WORLD.delete(name);
        }
    }

    private static Cli.Result attempt(Path dir, String script, String option) {
        List<String> all = new ArrayList<>(List.of("snapshot", "try", "trial"));
        if (!option.isEmpty()) {
            all.add(option);
        }
        all.addAll(List.of("--", "sh", "-c", script));
        return WORLD.at(dir).run(all.toArray(String[]::new));
    }
}
