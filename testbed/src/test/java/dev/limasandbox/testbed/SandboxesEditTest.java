package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code sandboxes edit}: what was asked is what limactl tells afterwards, or nothing has changed. */
class SandboxesEditTest {
    private static World world;
    private static Path project;

    @BeforeAll
    static void aSandbox() {
        world = World.shared();
        project = world.project("edited");
        world.at(project).run("edited", "true").exits(0);
    }

    @AfterAll
    static void away() {
        world.delete("edited");
    }

    private static String size() {
        return world.limactl("list", "--format", "{{.CPUs}} {{.Memory}} {{.Disk}}", "edited");
    }

    /** One GiB more than its disk has. */
    private static int more() {
        return (int) (Long.parseLong(size().split(" ")[2]) >> 30) + 1;
    }

    private static Path yaml() {
        return world.lima.resolve("edited/lima.yaml");
    }

    @Test
    void mountsAndSizesChangeAndItRunsAgain() {
        Path libs = world.project("libs");
        Path odd = world.project("an odd, one");
        World.write(odd.resolve("seen"), "yes\n");
        int disk = more();
        world.at(project).run("edit", ".", "--memory", "0.5", "--disk", disk + "", "--mount", libs + "", "--mount",
                odd + ":w").exits(0).out("").errHas("stopping edited", "booting edited", odd + ":w");
        assertEquals("1 " + (1L << 29) + " " + disk * (1L << 30), size());
        assertEquals("Running", world.status("edited"));
        world.at(project).run("edited", "sh", "-c", "cat \"$0/seen\"; touch \"$0/new\"", odd + "").exits(0)
                .out("yes\n");
        assertTrue(Files.exists(odd.resolve("new")));

        world.at(project).run("edit", "edited", "--memory", "0.5", "--mount", libs + "").exits(0)
                .errHas("so already").errLacks("stopping");
        world.at(project).run("edit", "edited", "--unmount", libs + "", "--unmount", odd + "", "--memory", "0.25")
                .exits(0);
        assertEquals(List.of(project + ":w"), world.mounts("edited"));
        world.at(project).run("edit", "edited", "--unmount", libs + "").exits(0).errHas("so already");
        world.at(project).run("edited", "test", "-e", odd + "/seen").exits(1);
    }

    @ParameterizedTest
    @CsvSource({"--cpus, 0", "--cpus, 9999", "--memory, 0", "--memory, 99999", "--disk, 5", "--disk, 99999",
            "--mount, no-such-directory"})
    void whatLimaWouldTakeIsRefused(String option, String value) {
        String before = World.read(yaml());
        world.at(project).run("edit", "edited", option, value).exits(2)
                .errHas(value).errLacks("stopping");
        assertEquals(before, World.read(yaml()));
    }

    @Test
    void homeIsNotMountedByEditEither() {
        world.at(project).run("edit", "edited", "--mount", world.home + "").exits(125)
                .errHas("home directory", "--force-dir").errLacks("stopping");
        assertEquals(List.of(project + ":w"), world.mounts("edited"));
    }

    @Test
    void aSessionIsNotEndedUnasked() {
        Cli.Running session = world.at(project).start("edited", "sh", "-c", "echo open; sleep 300").awaitOut("open");
        int disk = more();
        world.at(project).run("edit", "edited", "--cpus", "1", "--disk", disk + "").exits(125)
                .errHas("sh, 0 min", "--force", "--when-idle");
        assertTrue(session.process.isAlive());
        world.at(project).run("edit", "edited", "--disk", disk + "", "--force").exits(0);
        assertTrue(size().endsWith(" " + disk * (1L << 30)), size());
        session.ends(java.time.Duration.ofSeconds(30));
    }

    @Test
    void whatAKilledEditStoppedIsStartedByTheNext() {
        World.executable(world.root.resolve("bin/limactl"),
                "#!/bin/sh\nif [ \"$1\" = edit ]; then kill -9 $PPID; sleep 2; fi\n"
                        + "exec " + World.CHECKOUT + "/testbed/bin/limactl \"$@\"\n");
        String path = world.environment().get("PATH");
        int disk = more();
        Cli.Result killed = world.at(project).env("PATH", world.root + "/bin:" + path).run("edit", "edited", "--disk",
                disk + "");
        assertEquals(137, killed.exit(), killed.toString());
        assertEquals("Stopped", world.status("edited"));
        world.at(project).run("edit", "edited", "--disk", disk + "").exits(0);
        assertEquals("Running", world.status("edited"));
        assertTrue(size().endsWith(" " + disk * (1L << 30)), size());
    }

    @Test
    void theEditorsTextIsCheckedBeforeItIsSaved() {
        String before = World.read(yaml());
        try (Terminal terminal = world.at(project).env("EDITOR", "sed -i '1i cpus: [oops'").terminal("edit",
                "edited")) {
            terminal.await("is not changed").exits(125);
        }
        assertEquals(before, World.read(yaml()));
        assertEquals("Running", world.status("edited"));
        // The next call has the refused text again.
        try (Terminal terminal = world.at(project).env("VISUAL", "sed -i '1s/.*/# mine/'").terminal("edit", "edited")) {
            terminal.await("edited is changed").exits(0);
        }
        assertTrue(World.read(yaml()).startsWith("# mine\n"));
        world.at(project).run("edit", "edited", "--disk", more() + "").exits(0);
        assertTrue(World.read(yaml()).contains("# mine\n"), "comments are kept");
        assertFalse(Files.exists(world.lima.resolve("_sandbox/edit/edited.yaml")));
    }

    @Test
    void othersAreLeftAlone() {
        world.at(project).run("edit", "nowhere", "--cpus", "1").exits(2).errHas("no sandbox nowhere", "edited");
        String base = world.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow();
        world.at(project).run("edit", base, "--cpus", "1").exits(125).errHas("is a base");
        world.at(project).run("edit", "edited", "--mount-none", "--mount", ".").exits(2).errHas("stand alone");
    }
}
