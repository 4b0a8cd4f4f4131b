package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** {@code sandboxes ports}, {@code clone}, {@code usage}, {@code trim} and {@code cp}. */
class SandboxesMoreTest {
    private static World world;
    private static Path project;

    @BeforeAll
    static void aSandbox() {
        world = World.shared();
        project = world.project("more");
        world.at(project).run("more", "true").exits(0);
    }

    @AfterAll
    static void away() {
        world.delete("more");
    }

    private static Cli at() {
        return world.at(project);
    }

    private static ServerSocket listen(int port) throws IOException {
        return new ServerSocket(port, 5, InetAddress.getLoopbackAddress());
    }

    private static int unused() throws IOException {
        try (ServerSocket socket = listen(0)) {
            return socket.getLocalPort();
        }
    }

    // --- ports ---

    @Test
    void aForwardWorksAtOnceUntilItIsRemoved() throws IOException {
        int port = unused();
        try (ServerSocket guests = listen(0)) { // the stand-in's guest has the host's network
            String pair = port + ":" + guests.getLocalPort();
            at().run("ports", "more", "--add", pair).exits(0).out("").errHas("127.0.0.1:" + port, "until it stops");
            try (Socket client = new Socket(InetAddress.getLoopbackAddress(), port); Socket served = guests.accept()) {
                served.getOutputStream().write('!');
                assertEquals('!', client.getInputStream().read());
            }
            at().run("ports", "more", "--add", pair).exits(0);
            at().run("ports", ".").exits(0).outHas("" + guests.getLocalPort(), "127.0.0.1:" + port);
            at().run("ports", "more", "--json").exits(0).outHas("\"hostPort\" : " + port, "\"live\" : true");
            at().run("ports", "more", "--add", port + ":1").exits(125).errHas("--remove " + port);
            at().run("ports", "more", "--remove", "" + port).exits(0).errHas("no more");
            at().run("ports", "more", "--remove", "" + port).exits(0).errHas("not forwarded");
            listen(port).close();
        }
    }

    @Test
    void aTakenPortIsAnError() throws IOException {
        try (ServerSocket taken = listen(0)) {
            int port = taken.getLocalPort();
            at().run("ports", "more", "--add", "" + port).exits(125).errHas("taken",
                    "--add " + (port + 1) + ":" + port);
            at().run("ports", "more", "--add", "" + port, "--keep").exits(125).errHas("taken");
            assertFalse(world.config("more").path("portForwards").toString().contains("" + port));
        }
        at().run("ports", "more", "--add", "70000").exits(2).errHas("70000");
    }

    @Test
    void aKeptForwardStandsBeforeTheRuleThatClosesTheRest() throws IOException {
        int port = unused();
        at().run("ports", "more", "--add", port + ":3000", "--keep").exits(0).errHas("after each start");
        var forwards = world.config("more").path("portForwards");
        assertEquals(port, forwards.get(0).path("hostPort").asInt());
        assertEquals("127.0.0.1", forwards.get(0).path("hostIP").asText());
        assertTrue(forwards.get(forwards.size() - 1).path("ignore").asBoolean());
        assertEquals("Running", world.status("more"));
        at().run("ports", "more", "--remove", "" + port).exits(0);
        assertEquals(forwards.size() - 1, world.config("more").path("portForwards").size());
    }

    // --- clone ---

    @Test
    void aCloneIsACopyAlsoOfASnapshot() {
        Path other = world.project("other");
        Path source = world.project("source");
        try {
            world.at(source).run("source", "sh", "-c", "echo old > ~/state").exits(0);
            at().run("clone", "source", "copy1").exits(125).errHas("is running", "stop source");
            world.stop("source");
            world.limactl("snapshot", "create", "source", "--tag", "green");
            world.at(source).run("source", "sh", "-c", "echo new > ~/state").exits(0);
            world.stop("source");

            at().run("clone", "source", "copy1", "--tag", "nope").exits(2).errHas("no snapshot nope", "list source");
            assertFalse(Files.exists(world.lima.resolve("copy1")));
            at().run("clone", "source", "copy1", other + "", "--tag", "green", "--start").exits(0)
                    .errHas("as it was at green", "logins", other + ":w");
            assertEquals("Running", world.status("copy1"));
            world.at(other).run("copy1", "sh", "-c", "cat ~/state; pwd").exits(0).out("old\n" + other + "\n");
            assertEquals(List.of(other + ":w"), world.mounts("copy1"));
            world.stop("copy1");
            assertEquals("", world.limactl("snapshot", "list", "-q", "copy1"));
            assertEquals("green", world.limactl("snapshot", "list", "-q", "source"));

            at().run("clone", "source", "copy1").exits(125).errHas("exists already");
            at().run("clone", "source", "copy2", "--disk", "70").exits(0).errHas("as source does", source + ":w");
            assertEquals(List.of(source + ":w"), world.mounts("copy2"));
            world.at(source).run("source", "sh", "-c", "cat ~/state").exits(0).out("new\n");
        } finally {
            world.delete("source", "copy1", "copy2");
        }
    }

    @Test
    void aCloneOfACopiedDiskSet() {
        Path source = world.project("disks");
        try {
            world.at(source).run("disks", "sh", "-c", "echo old > ~/state").exits(0);
            world.stop("disks");
            at().run("snapshot", "create", "disks", "t1", "--method", "copy").exits(0);
            world.at(source).run("disks", "sh", "-c", "echo new > ~/state").exits(0);
            world.stop("disks");
            at().run("clone", "disks", "ofdisks", "--tag", "t1", "--start").exits(0);
            at().run("ofdisks", "sh", "-c", "cat ~/state").exits(0).out("old\n");
            String base = world.config("ofdisks").path("param").path("sandbox").asText().replaceAll(".* base=([^ ]*).*",
                    "$1");
            at().run("list", "--bases").exits(0).outHas("ofdisks");
            world.stop("ofdisks");
            world.limactl("edit", "--tty=false", "--set", ".param.sandbox = \"v=1 kind=sandbox\"", "ofdisks");
            at().run("list", "--bases").exits(0).outHas("ofdisks");
            at().run("delete", base, "--yes").exits(125).errHas(base, "ofdisks");
            world.at(source).run("disks", "sh", "-c", "cat ~/state").exits(0).out("new\n");
        } finally {
            world.delete("disks", "ofdisks");
        }
    }

    @Test
    void aCloneThatIsKilledOrFailsLeavesNothing() {
        Path source = world.project("frail");
        try {
            world.at(source).run("frail", "true").exits(0);
            world.stop("frail");
            at().env("LIMA_FAULTS", "clone:fail").run("clone", "frail", "half").exits(125)
                    .errHas("clone of frail failed");
            assertFalse(Files.exists(world.lima.resolve("half")));
            world.lima.resolve("_faults.reached").toFile().delete();
            World.write(world.lima.resolve("_faults"), "clone:hang");
            Cli.Running killed = at().start("clone", "frail", "half");
            World.await(30, "the clone has begun", () -> Files.exists(world.lima.resolve("_faults.reached")));
            killed.signal("KILL").ends(java.time.Duration.ofSeconds(20));
            world.lima.resolve("_faults").toFile().delete();
            assertTrue(Files.exists(world.lima.resolve("half")));
            at().run("clone", "frail", "half").exits(0).errHas("removing the half-made half");
            assertEquals("Stopped", world.status("half"));
        } finally {
            world.lima.resolve("_faults").toFile().delete();
            world.lima.resolve("_faults.reached").toFile().delete();
            world.delete("frail", "half");
        }
    }

    // --- usage, trim ---

    @Test
    void usageTellsOfGuestAndHost() {
        at().run("usage", "more").exits(0).outHas("more", "256 MiB", "50 GiB").errLacks("sandboxes:");
        at().run("usage", "--json", "more").exits(0).outHas("\"memory\" : 268435456", "\"diskUsed\" : ", "\"host\" : ");
        at().run("usage", "nowhere").exits(2);
    }

    @Test
    void trimTellsWhatThisComputerGained() {
        at().run("trim", "more").exits(0).outHas("more took ", "gained");
        at().run("trim", "more", "--docker").exits(125).errHas("in more: docker: no containers in the stand-in",
                "system prune -af");
        at().run("trim").exits(2).errHas("--all");
    }

    // --- cp ---

    @Test
    void filesAndDirectoriesGoInAndOutWithTheirModes() throws IOException {
        Path here = world.project("cp");
        World.executable(here.resolve("d/run me"), "#!/bin/sh\necho ran\n");
        World.link(here.resolve("d/link"), Path.of("run me"));
        Files.setPosixFilePermissions(here.resolve("d"), PosixFilePermissions.fromString("rwxr-x---"));
        world.at(here).run("cp", "d", "more:/var/tmp").exits(0).silent();
        at().run("more", "sh", "-c", "/var/tmp/d/link; stat -c %a /var/tmp/d").exits(0).out("ran\n750\n");
        world.at(here).run("cp", "more:/var/tmp/d", "back").exits(0).silent();
        assertEquals("rwxr-x---", PosixFilePermissions.toString(Files.getPosixFilePermissions(here.resolve("back"))));
        assertTrue(Files.isExecutable(here.resolve("back/run me")));
        assertEquals(Path.of("run me"), Files.readSymbolicLink(here.resolve("back/link")));
        world.at(here).run("cp", "more:/var/tmp/d", "back").exits(0); // into it, as it exists now
        assertTrue(Files.exists(here.resolve("back/d/run me")));
        world.at(here).input("a\0b").run("cp", "-", "more:~/piped").exits(0);
        world.at(here).run("cp", "more:piped", "-").exits(0).out("a\0b");
        world.at(here).run("cp", "more:nothing", ".").exits(125).errHas("nothing");
        // A link that is typed stands for what it points to, on either side.
        at().run("more", "sh", "-c", "cd /var/tmp; ln -sfn d dirlink; ln -sfn d/link filelink").exits(0);
        world.at(here).run("cp", "more:/var/tmp/dirlink/", "out").exits(0).silent();
        assertTrue(Files.isExecutable(here.resolve("out/run me")) && !Files.isSymbolicLink(here.resolve("out")));
        world.at(here).run("cp", "more:/var/tmp/filelink", "out").exits(0).silent();
        assertEquals("#!/bin/sh\necho ran\n", World.read(here.resolve("out/filelink")));
        assertFalse(Files.isSymbolicLink(here.resolve("out/filelink")));
        World.remove(here.resolve("out"));
        World.link(here.resolve("here"), here.resolve("d/run me"));
        world.at(here).run("cp", "here", "more:/var/tmp").exits(0).silent();
        at().run("more", "sh", "-c", "test ! -L /var/tmp/here && /var/tmp/here").exits(0).out("ran\n");
        World.remove(here.resolve("here"));
        world.at(here).run("cp", "gone", "more:x").exits(125).errHas("no such file");
        world.at(here).run("cp", "d", "e").exits(2).errHas("NAME:PATH");
        assertEquals(List.of("back", "d"), names(here));
    }

    private static List<String> names(Path directory) throws IOException {
        try (var files = Files.list(directory)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    /** The guest's tar is the guest's: it may send what it likes. */
    @Test
    void nothingOutsideTheTargetIsWritten() throws IOException {
        Path outside = world.project("outside");
        Path here = World.directory(world.project("evil").resolve("in"));
        World.executable(project.resolve("tar"), """
                #!/bin/sh
                PATH=/usr/bin:/bin
                cd "$(mktemp -d)" && mkdir -p evil && echo good >evil/good
                ln -s OUTSIDE evil/link && ln -s good evil/fine && ln -s fine/../../../x evil/up
                tar -cf a.tar evil
                rm evil/link && mkdir evil/link && echo bad >evil/link/through
                tar -rf a.tar evil/link/through
                echo bad >p
                tar -rPf a.tar --transform 's,^,../../,' p
                tar -rPf a.tar --transform 's,^,OUTSIDE/abs,' p
                cat a.tar
                """.replace("OUTSIDE", outside.toString()));
        at().run("more", "sudo", "cp", project + "/tar", "/usr/local/bin/tar").exits(0);
        try {
            Cli.Result result = world.at(here).run("cp", "more:/evil", "got");
            assertTrue(result.exit() != 0, result.toString());
            assertEquals(List.of(), names(outside));
            assertEquals(List.of("in"), names(here.getParent()));
            assertFalse(Files.isSymbolicLink(here.resolve("got/link")));
            assertFalse(Files.isSymbolicLink(here.resolve("got/up")));
            // A link that is in the way here is not followed either.
            World.link(here.resolve("evil"), outside);
            assertTrue(world.at(here).run("cp", "more:/evil", here + "").exit() != 0);
            assertEquals(List.of(), names(outside));
        } finally {
            at().run("more", "sudo", "rm", "/usr/local/bin/tar").exits(0);
        }
    }
}
