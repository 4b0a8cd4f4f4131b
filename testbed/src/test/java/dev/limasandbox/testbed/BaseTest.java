package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Made once, cloned after: bases, golden sandboxes, and doing without. */
class BaseTest {
    private static List<String> bases(World world) {
        return world.instances().stream().filter(name -> name.startsWith("base-")).toList();
    }

    private static String backing(World world, String name) {
        return world.run(world.home, "qemu-img", "info", "-U", "--output=json",
                world.lima.resolve(name).resolve("disk").toString());
    }

    @Test
    void theFirstUseBuildsABaseAndTheSecondClonesIt() throws IOException {
        World world = World.fresh();
        Path one = world.project("one");
        Cli.Result first = world.at(one).run("one", "echo", "in it").exits(0).out("in it\n");
        first.errHas("minutes", "GB", "base");
        assertTrue(first.err().lines().findFirst().orElse("").matches("sandbox: .*minutes.*GB.*"), first.err());
        List<String> bases = bases(world);
        assertEquals(1, bases.size(), bases.toString());
        String base = bases.get(0);
        assertEquals("Stopped", world.status(base));
        assertEquals(List.of(), world.mounts(base));
        assertTrue(Files.exists(world.lima.resolve(base).resolve("protected")), "the base is protected");

        // Its disk is a read-only image, of which clones are overlays.
        Path image = world.lima.resolve("_sandbox/images").resolve(base + ".qcow2");
        assertEquals("r--r--r--", PosixFilePermissions.toString(Files.getPosixFilePermissions(image)));
        assertTrue(backing(world, "one").contains(image.toString()), backing(world, "one"));

        Path two = world.project("two");
        Cli.Result second = world.at(two).run("two", "echo", "second").exits(0).out("second\n");
        second.errHas("cloning").errLacks("minutes", "creating");
        assertEquals(bases, bases(world));

        // limactl clone leaves sock/ with mode 0000, and then the Docker forward fails in silence.
        for (String name : List.of("one", "two")) {
            Path sock = world.lima.resolve(name).resolve("sock");
            assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(sock)));
            World.await(10, "Docker's socket of " + name, () -> Files.exists(sock.resolve("docker.sock")));
        }

        // A base is not a sandbox.
        world.at(one).run("--name", base, "true").exits(125).errHas("base");
        world.at(one).run(base, "true").exits(125).errHas("base");
        assertEquals("Stopped", world.status(base));

        // A new one beside the old, which has clones; without clones the old one goes.
        world.cli().run("--rebuild-base").exits(0).out("").errHas("base");
        assertEquals(2, bases(world).size(), bases(world).toString());
        world.cli().run("--rebuild-base").exits(0);
        List<String> after = bases(world);
        assertEquals(2, after.size(), after.toString());
        assertTrue(after.contains(base), after.toString());
        Path three = world.project("three");
        world.at(three).run("three", "true").exits(0).errHas("cloning").errLacks("cloning " + base + " ");
        world.at(one).run("one", "echo", "still").exits(0).out("still\n");
        world.close();
    }

    @Test
    void fromClonesAnyStoppedSandbox() {
        World world = World.shared();
        Path gold = world.project("gold");
        try {
            world.at(gold).run("gold", "sh", "-c", "echo tool > ~/tool; echo kept > in-project").exits(0);
            Path first = world.project("first");
            world.at(first).run("--from", "gold", "nugget", "true").exits(125).errHas("gold", "stop gold");
            world.at(first).run("--from", "missing", "nugget", "true").exits(2).errHas("missing");
            assertFalse(world.sandboxes().contains("nugget"));
            world.stop("gold");
            world.at(first)
                    .run("--from", "gold", "nugget", "sh", "-c",
                            "cat ~/tool; ls -A; ls " + gold + " 2>/dev/null || pwd")
                    .exits(0)
                    .out("tool\n" + first + "\n");
            assertEquals(List.of(first + ":w"), world.mounts("nugget"));
            assertEquals("Stopped", world.status("gold"));
            world.at(gold).run("gold", "cat", "in-project").exits(0).out("kept\n");
        } finally {
            world.delete("nugget", "gold");
        }
    }

    @Test
    void noBaseMakesItStraightFromTheTemplate() {
        World world = World.fresh();
        Path straight = world.project("straight");
        world.at(straight).run("--no-base", "straight", "echo", "hi").exits(0).out("hi\n");
        assertEquals(List.of("straight"), world.instances());
        world.at(straight).run("--no-base", "--rebuild-base", "other", "true").exits(2).errHas("--no-base");
        world.at(straight).run("--no-base", "--from", "straight", "other", "true").exits(2).errHas("--no-base");
        world.close();
    }

    @Test
    void aChangedTemplateMeansANewBase() {
        World world = World.fresh();
        Path template = world.template("user", "echo first > ~/made-by\n");
        Path one = world.project("one");
        world.at(one).run("--template", template.toString(), "one", "sh", "-c", "cat ~/made-by").exits(0)
                .out("first\n");
        World.write(template, World.read(template).replace("first", "second"));
        Path two = world.project("two");
        world.at(two).env("SANDBOX_TEMPLATE", template.toString()).run("two", "sh", "-c", "cat ~/made-by").exits(0)
                .out("second\n");
        assertEquals(2, bases(world).size(), bases(world).toString());
        world.at(one).run("one", "true").exits(0);
        world.close();
    }

    @Test
    void aFailingTemplateIsToldByItsOwnLog() {
        World world = World.fresh();
        Path template = world.template("system",
                "mkdir -p /run/sandbox; echo 'the disk is made of cheese' >> /var/log/sandbox.log; echo 'cheese 3' > /run/sandbox/failed\n");
        Path one = world.project("one");
        world.at(one).run("--template", template.toString(), "one", "true")
                .exits(125)
                .out("")
                .errHas("cheese 3", "the disk is made of cheese")
                .errLacks("\tat ", "Exception");
        assertFalse(world.instances().contains("one"));
        // Once the template is right the same command works.
        World.write(template, World.read(template).replace("echo 'cheese 3' > /run/sandbox/failed", "true"));
        world.at(one).run("--template", template.toString(), "one", "echo", "well").exits(0).out("well\n");
        world.close();
    }
}
