package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Start, stop, restart, delete, reset and rename: twice, on each kind of instance, in use, and killed half-way. */
class SandboxesLifeTest {
    private static World world;
    private static Path project;

    @BeforeAll
    static void one() {
        world = World.shared();
        project = world.project("life");
    }

    @AfterAll
    static void away() {
        world.delete("life", "other", "shop");
    }

    @AfterEach
    void noFaults() {
        wanted();
    }

    private static void wanted(String... faults) {
        World.write(world.lima.resolve("_faults"), String.join(" ", faults));
    }

    /** Makes it if it is not there, with a file of its own in the guest's home. */
    private static void make() {
        world.at(project).run("life", "sh", "-c", "echo mine > ~/mine").exits(0);
    }

    private static Path snapshot(String name) {
        return World.write(world.lima.resolve("_sandbox/snapshots").resolve(name).resolve("t/meta.json"),
                "{\"tag\":\"t\",\"method\":\"internal\",\"created\":\"2026-11-01T10:00:00Z\"}");
    }

    /** Kills the command once limactl hangs at this point, and lets limactl go on. */
    private static void killedAt(String fault, String... words) {
        world.lima.resolve("_faults.reached").toFile().delete();
        wanted(fault);
        Cli.Running killed = world.at(project).start(words);
        Path reached = world.lima.resolve("_faults.reached");
        World.await(Duration.ofSeconds(60), () -> fault + " is reached; " + killed,
                () -> Files.exists(reached) && World.read(reached).contains(fault));
        killed.process.descendants().filter(p -> p.info().commandLine().orElse("").contains("limasandbox.Sandbox"))
                .forEach(p -> Cli.signal("KILL", p.pid()));
        killed.signal("KILL").ends(Duration.ofSeconds(30));
        wanted();
    }

    @Test
    void twiceIsNoErrorAndTheStateIsWhatWasAskedFor() {
        make();
        world.at(project).run("stop", ".").exits(0).out("").errHas("life is stopped, after");
        assertEquals("Stopped", world.status("life"));
        world.cli().run("stop", "life").exits(0).errHas("life is stopped").errLacks("after");
        world.cli().run("start", "life", "life").exits(0).out("").errHas("life is running");
        assertEquals("Running", world.status("life"));
        world.cli().run("start", "life", "--quiet").exits(0).silent();
        world.cli().run("restart", "life", "--quiet").exits(0).silent();
        assertEquals("Running", world.status("life"));
        assertEquals("mine\n", world.at(project).run("life", "sh", "-c", "cat ~/mine").exits(0).out());
    }

    @Test
    void onlyOursAreTouched() {
        make();
        world.limactl("clone", base(), "alien", "--tty=false", "--set", ".param.sandbox = \"\"");
        try {
            for (String verb : List.of("start", "stop", "restart", "delete", "reset")) {
                world.cli().run(verb, "alien", "--yes").exits(125).errHas("alien", "did not make");
                world.cli().run(verb, base(), "--yes").exits(125).errHas("base");
                world.cli().run(verb, "nosuch", "--yes").exits(verb.equals("delete") ? 0 : 2)
                        .errHas("no sandbox nosuch");
            }
            world.cli().run("rename", "alien", "mine").exits(125).errHas("did not make");
            world.cli().run("rename", "life", "alien").exits(125).errHas("alien already");
            world.cli().run("rename", "life", "a/b").exits(2).errHas("a/b");
            world.cli().run("stop").exits(2).errHas("--all");
            world.cli().run("stop", "life", "--all").exits(2).errHas("--all");
            world.limactl("protect", "life");
            for (String verb : List.of("delete", "reset")) {
                world.cli().run(verb, "life", "--yes").exits(125).errHas("protected", "limactl unprotect life");
            }
            world.cli().run("rename", "life", "other").exits(125).errHas("protected");
            world.cli().run("delete", "--all", "--yes").exits(0).errHas("not protected");
            world.limactl("unprotect", "life");
            world.cli().run("delete", "life").exits(125).errHas("Delete life?", "--yes");
            world.cli().run("reset", "life").exits(125).errHas("logins", project.toString(), "--yes");
            assertEquals(List.of("alien", base(), "life"), world.instances());
        } finally {
            world.delete("alien");
        }
    }

    private static String base() {
        return world.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow();
    }

    @Test
    void whoeverEndsASessionIsToldOfIt() {
        make();
        Cli.Running session = world.at(project).start("life", "sh", "-c", "echo in; exec sleep 300");
        session.awaitOut("in");
        for (String verb : List.of("stop", "restart", "delete", "reset")) {
            world.cli().run(verb, "life", "--yes").exits(125).errHas("life is in use: sh, 0 min", "--force");
        }
        world.cli().run("rename", "life", "shop").exits(125).errHas("life is in use");
        assertEquals("Running", world.status("life"));
        Cli.Running waiting = world.at(project).start("stop", "life", "--when-idle");
        waiting.awaitErr("waiting for the end of it");
        assertTrue(waiting.process.isAlive());
        session.signal("TERM").ends(Duration.ofSeconds(30));
        waiting.ends(Duration.ofSeconds(60)).exits(0);
        assertEquals("Stopped", world.status("life"));
        Cli.Running forced = world.at(project).start("life", "sh", "-c", "echo in; exec sleep 300");
        forced.awaitOut("in");
        world.cli().run("stop", "life", "--force").exits(0);
        assertTrue(forced.ends(Duration.ofSeconds(60)).exit() != 0);
    }

    @Test
    void allAtOnceAndABrokenOneToo() throws IOException {
        make();
        world.at(world.project("other")).run("other", "true").exits(0);
        Cli.signal("KILL", Long.parseLong(World.read(world.lima.resolve("other/ha.pid")).strip()));
        World.await(10, "it is broken", () -> world.status("other").equals("Broken"));
        world.cli().run("stop", "--all").exits(0).errHas("life is stopped", "other, which is broken",
                "other is stopped");
        assertEquals("Stopped", world.status("other"));
        wanted("stop:fail"); // a lost event: exit 1 though the machine is down
        world.cli().run("start", "life").exits(0);
        world.cli().run("stop", "life").exits(0);
        wanted();
        snapshot("other");
        world.cli().run("delete", "other", "--yes", "-q").exits(0).silent();
        assertFalse(world.instances().contains("other"));
        assertFalse(Files.exists(world.lima.resolve("_sandbox/snapshots/other")));
        assertTrue(Files.isDirectory(world.project("other")), "the project stays");
        world.cli().run("delete", "other", "--yes").exits(0).errHas("no sandbox other");
    }

    @Test
    void aQuestionCanBeDeclined() {
        make();
        try (Terminal terminal = world.at(project).terminal("delete", "life")) {
            terminal.await("[y/N]").type("n").press("Enter").exits(1);
        }
        assertTrue(world.instances().contains("life"));
    }

    @Test
    void resetMakesItAnewWithTheSameShape() {
        world.delete("life");
        Path read = world.project("read");
        world.at(project).run("--mount", read.toString(), "--publish", "18080:8080", "--disk", "20", "life", "sh", "-c",
                "echo mine > ~/mine").exits(0);
        List<String> mounts = world.mounts("life");
        snapshot("life");
        world.at(project).run("reset", ".", "--yes").exits(0).out("").errHas("as new");
        assertEquals(mounts, world.mounts("life"));
        assertEquals("20GiB", world.config("life").path("disk").asText());
        assertTrue(world.config("life").path("portForwards").toString().contains("18080"));
        assertFalse(Files.exists(world.lima.resolve("_sandbox/snapshots/life")));
        world.at(project).run("life", "sh", "-c", "cat ~/mine || echo none").exits(0).out("none\n");
        world.stop("life");
        killedAt("delete:hang", "reset", "life", "--yes");
        world.cli().run("reset", "life", "--yes").exits(0);
        assertEquals(mounts, world.mounts("life"));
        killedAt("clone:hang", "reset", "life", "--yes");
        world.cli().run("start", "life").exits(2).errHas("reset life");
        world.cli().run("reset", "life", "--yes").exits(0);
        assertEquals(mounts, world.mounts("life"));
        assertEquals("Stopped", world.status("life"), "as it was before the first of them");
        World.remove(read);
        world.cli().run("reset", "life", "--yes").exits(125).errHas(read.toString(), "--unmount");
        assertTrue(world.instances().contains("life"));
        world.delete("life");
    }

    @Test
    void resetMakesItOfWhatItWasMadeOf() {
        Path own = world.project("kept"); // not that of a sandbox that another test left running
        Path link = World.link(world.project("typed").resolve("link"), own);
        World.write(world.lima.resolve("_sandbox/agents/opencode/kept"), "");
        try {
            world.cli().run("--mount-none", "golden", "sh", "-c", "mkdir -p ~/.local/bin; cd ~/.local/bin;"
                    + " printf '#!/bin/sh\\nmkdir -p ~/.local/bin; cp ~/.profile ~/.local/bin/opencode;"
                    + " printf \"#!/bin/sh\\\\n\" >~/.local/bin/opencode; chmod +x ~/.local/bin/opencode' >npm;"
                    + " chmod +x npm; echo golden >~/golden").exits(0);
            world.stop("golden");
            world.at(own).run("--from", "golden", "--dir", link.toString(), "--name", "kept", "true").exits(0);
            world.stop("kept");
            world.limactl("edit", "--tty=false", "--set", ".portForwards += [{\"guestPortRange\":[19000,19009],"
                    + "\"hostPortRange\":[19000,19009]}]", "kept");
            String forwards = world.config("kept").path("portForwards").toString();
            world.cli().run("start", "golden").exits(0);
            world.cli().run("reset", "kept", "--yes").exits(125).errHas("golden", "stop golden");
            world.cli().run("stop", "golden").exits(0);
            world.cli().run("reset", "kept").exits(125).errHas("anew, of golden?", "opencode (installed anew)",
                    "published ports", "--yes");
            world.cli().run("reset", "kept", "--yes").exits(0).errHas("installing opencode");
            assertEquals(forwards, world.config("kept").path("portForwards").toString());
            assertEquals("Stopped", world.status("kept"));
            world.at(own).run("kept", "sh", "-c", "cat ~/golden; ls ~/.local/bin; test -e \"$0/.\" && echo link",
                    link.toString()).exits(0).out("golden\nnpm\nopencode\nlink\n");
            world.delete("golden");
            world.cli().run("reset", "kept").exits(125).errHas("as golden, whose clone it was, is gone");

            String template = world.template("user", "true\n").toString();
            world.cli().run("--no-base", "--template", template, "--mount-none", "golden", "true").exits(0);
            world.cli().run("reset", "golden").exits(125).errHas("anew, of " + template + " as it is now?");
            assertTrue(Files.exists(Path.of(template)) && new java.io.File(template).delete());
            world.cli().run("reset", "golden", "--yes").exits(125).errHas(template, "--template");
        } finally {
            world.delete("golden", "kept");
        }
    }

    @Test
    void renameTakesItAlongAndSurvivesAKill() {
        make();
        snapshot("life");
        world.cli().run("rename", "life", "shop").exits(0).errHas("life is now shop");
        assertEquals("Running", world.status("shop"));
        assertTrue(Files.exists(world.lima.resolve("_sandbox/snapshots/shop/t/meta.json")));
        world.at(project).run("shop", "sh", "-c", "cat ~/mine").exits(0).out("mine\n");
        world.cli().run("rename", "life", "shop").exits(0).errHas("there is shop");
        world.stop("shop");
        for (String fault : List.of("clone:hang", "delete:hang")) {
            killedAt(fault, "rename", "shop", "life");
            world.cli().run("rename", "shop", "life").exits(0);
            assertTrue(world.instances().contains("life") && !world.instances().contains("shop"), fault);
            assertTrue(Files.exists(world.lima.resolve("_sandbox/snapshots/life/t/meta.json")), fault);
            world.cli().run("rename", "life", "shop").exits(0);
        }
        world.at(project).run("shop", "sh", "-c", "cat ~/mine").exits(0).out("mine\n");
        world.cli().run("rename", "shop", "life").exits(0);
    }

    @Test
    void afterAKillTheSameCommandSucceeds() {
        make();
        killedAt("stop:hang", "stop", "life");
        world.cli().run("stop", "life").exits(0);
        assertEquals("Stopped", world.status("life"));
        killedAt("start:hang", "start", "life");
        world.cli().run("start", "life").exits(0);
        assertEquals("Running", world.status("life"));
        snapshot("life");
        killedAt("delete:hang", "delete", "life", "--yes");
        world.cli().run("delete", "life", "--yes").exits(0);
        assertFalse(world.instances().contains("life"));
        assertFalse(Files.exists(world.lima.resolve("_sandbox/snapshots/life")));
    }

    @Test
    void whatANameOwnsComesAlongAndGoes() throws IOException {
        make();
        int port;
        try (java.net.ServerSocket any = new java.net.ServerSocket(0)) {
            port = any.getLocalPort();
        }
        world.cli().run("ports", "life", "--add", port + ":22").exits(0);
        world.cli().run("ports", "life").exits(0).outHas("127.0.0.1:" + port);
        List<String> lasting = List.of("snapshots/NAME/t/meta.json", "edit/NAME.yaml", "trials/NAME.json",
                "agents/claude/NAME");
        List<String> ofABoot = List.of("sessions/NAME/1", "live/NAME", "forwards/NAME", "edit/NAME.set.yaml");
        Path ours = world.lima.resolve("_sandbox");
        for (String file : lasting) {
            World.write(ours.resolve(file.replace("NAME", "life")), "{\"tag\":\"t\",\"top\":\"/the/repo\"}");
        }
        World.write(ours.resolve("sessions/life/1"), "1 gone");
        World.write(ours.resolve("edit/life.set.yaml"), "");
        assertEquals(List.of(), missing(ofABoot, "life"));

        world.cli().run("rename", "life", "shop").exits(0);
        assertEquals(List.of(), missing(lasting, "shop"));
        assertEquals(List.of("locks/life.lock"), named("life"));
        assertEquals("Running", world.status("shop"));
        try (java.net.ServerSocket free = new java.net.ServerSocket()) {
            free.bind(new java.net.InetSocketAddress(java.net.InetAddress.getLoopbackAddress(), port));
        }
        try (var sockets = Files.list(ours.resolve("f"))) {
            assertEquals(0, sockets.count());
        }

        World.write(ours.resolve("reset/shop"), "Running\n");
        world.cli().run("delete", "shop").exits(125).errHas("1 snapshot", "trial t ends undecided", "/the/repo",
                "agent/t");
        world.cli().run("delete", "shop", "--yes").exits(0);
        assertEquals(List.of("locks/shop.lock"), named("shop"));
        // Deleted by limactl: the next delete clears up.
        make();
        snapshot("life");
        world.delete("life");
        world.cli().run("delete", "life", "--yes").exits(0).errHas("no sandbox life");
        assertEquals(List.of("locks/life.lock"), named("life"));
    }

    private static List<String> missing(List<String> files, String name) {
        return files.stream().map(f -> f.replace("NAME", name))
                .filter(f -> !Files.exists(world.lima.resolve("_sandbox").resolve(f))).toList();
    }

    /** All files of ours in whose path a name stands. */
    private static List<String> named(String name) throws IOException {
        Path ours = world.lima.resolve("_sandbox");
        try (var files = Files.walk(ours)) {
            return files.map(f -> ours.relativize(f).toString()).filter(f -> f.matches(".*\\b" + name + "\\b.*"))
                    .sorted().toList();
        }
    }

    @Test
    void whatAKilledCallStoppedIsStartedByTheNext() {
        make();
        Path owed = world.lima.resolve("_sandbox/restart/life");
        world.stop("life");
        World.write(owed, "");
        world.cli().run("list").exits(0).errHas("interrupted call left life stopped", "start life");
        world.cli().run("cp", "life:/etc/hostname", "-").exits(0).errHas("interrupted call left life stopped");
        assertEquals("Running", world.status("life"));
        world.stop("life");
        World.write(owed, "");
        world.cli().run("stop", "life").exits(0);
        assertFalse(Files.exists(owed));
        World.write(owed, "");
        world.at(project).run("life", "true").exits(0);
        assertFalse(Files.exists(owed), "sandbox itself has started it");
        killedAt("clone:hang", "rename", "life", "shop");
        assertEquals("Stopped", world.status("life"));
        world.cli().run("rename", "life", "shop").exits(0);
        assertEquals("Running", world.status("shop"));
        killedAt("start:hang", "rename", "shop", "life");
        world.cli().run("rename", "shop", "life").exits(0).errHas("there is life");
        assertEquals("Running", world.status("life"));
    }

    @Test
    void unusedBasesGo() {
        World fresh = World.fresh();
        fresh.cli().run("--rebuild-base").exits(0);
        String first = fresh.instances().get(0);
        fresh.cli().run("delete", "--unused-bases", "--yes").exits(0).errHas("no base is unused", first);
        fresh.at(fresh.project("p")).run("p", "true").exits(0);
        fresh.cli().run("--rebuild-base").exits(0);
        fresh.cli().run("delete", first, "--yes").exits(125).errHas("the disks of p");
        fresh.cli().run("delete", "--unused-bases", "--yes").exits(0).errHas("no base is unused");
        fresh.cli().run("delete", "p", "--yes").exits(0);
        fresh.cli().run("delete", "--unused-bases", "--yes").exits(0).errHas(first + " is deleted");
        String own = fresh.instances().get(0);
        assertEquals(1, fresh.instances().size());
        assertFalse(Files.exists(fresh.lima.resolve("_sandbox/images/" + first + ".qcow2")));

        // A disk that does not say so lies on the base, too; and a newer base of a template that nobody uses goes.
        fresh.limactl("clone", own, "silent", "--tty=false", "--set", ".param.sandbox = \"\"");
        fresh.cli().run("list", "--bases").exits(0).outHas(" silent");
        fresh.cli().run("delete", own, "--yes").exits(125).errHas("the disks of silent");
        String template = fresh.template("user", "true\n").toString();
        fresh.at(fresh.project("q")).run("--template", template, "q", "true").exits(0);
        String other = fresh.instances().stream().filter(n -> n.startsWith("base-") && !n.equals(own)).findFirst()
                .orElseThrow();
        fresh.cli().run("delete", own, "--yes").exits(125).errHas("the disks of silent");
        fresh.delete("silent");
        fresh.cli().run("delete", "--unused-bases", "--yes").exits(0).errHas("no base is unused", own, other);
        fresh.cli().run("delete", "q", "--yes").exits(0);
        fresh.cli().run("delete", "--unused-bases", "--yes").exits(0).errHas(other + " is deleted");
        assertEquals(List.of(own), fresh.instances());
        fresh.close();
    }
}
