package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** docker-context: the Docker of a sandbox from this computer. With the docker CLI of this computer, if there is one. */
class DockerContextTest {
    /** What the docker CLI does with contexts, as far as they matter here: one file each, and one for the current one. */
    private static final String PRETENDED = """
            #!/bin/bash
            d=$HOME/.docker/pretended; mkdir -p $d; [ "$1" = context ] || exit 1; verb=$2; shift 2
            args=(); while [ $# -gt 0 ]; do case $1 in
                --docker) host=${2#host=}; shift ;; --description|--format) shift ;; *) args+=("$1") ;; esac; shift; done
            n=${args[0]}; now=$(cat $d/.now 2>/dev/null || echo default)
            case $verb in
                ls) for f in $d/* default; do f=${f##*/}; [ "$f" = '*' ] || printf \
                    '{"Name":"%s","Current":%s,"DockerEndpoint":"%s"}\\n' $f $([ $f = $now ] && echo true || echo false) \
                    "$(cat $d/$f 2>/dev/null)"; done ;;
                create) [ ! -e $d/$n ] && echo $host >$d/$n ;;
                update) [ -e $d/$n ] && echo $host >$d/$n ;;
                use) [ $n = default ] || [ -e $d/$n ] && echo $n >$d/.now ;;
                rm) [ $n != $now ] && rm $d/$n ;;
                inspect) cat $d/$n ;;
            esac
            """;

    private static World world;
    private static Path project;
    private static Path programs;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        project = world.project("dock");
        world.at(project).run("dock", "true").exits(0);
        programs = World.directory(world.root.resolve("docker-cli"));
        if (Stream.of(System.getenv("PATH").split(":")).noneMatch(d -> Files.isExecutable(Path.of(d, "docker")))) {
            World.executable(programs.resolve("docker"), PRETENDED);
        }
    }

    @AfterAll
    static void delete() {
        world.delete("dock");
        if (Files.exists(world.home.resolve(".docker"))) {
            World.remove(world.home.resolve(".docker"));
        }
    }

    private static Cli cli() {
        return world.at(project).env("PATH", programs + ":" + world.environment().get("PATH"));
    }

    private static Cli.Result run(String... words) {
        String[] all = new String[words.length + 1];
        all[0] = "docker-context";
        System.arraycopy(words, 0, all, 1, words.length);
        return cli().run(all);
    }

    private static JsonNode listed() {
        return Target.json(run("list", "dock", "--json").exits(0).out()).get(0);
    }

    @Test
    void aContextIsMadeUsedAndRemovedEachTwice() {
        run("create", "dock").exits(0).out("").errHas("created the context lima-dock");
        run("create", "--all").exits(0).errHas("lima-dock is there already");
        assertEquals("lima-dock", listed().path("context").asText());
        assertFalse(listed().path("current").asBoolean());
        assertEquals(world.lima.resolve("dock/sock/docker.sock").toString(), listed().path("socket").asText());
        assertTrue(listed().path("docker").asText().startsWith("answers"), listed()::toString);

        run("use", ".").exits(0).errHas("lima-dock is there already", "docker uses lima-dock");
        run("use", "dock").exits(0);
        assertTrue(listed().path("current").asBoolean());
        run("list").exits(0).outHas("NAME", "dock  Running   lima-dock *").silent();

        run("remove", "dock").exits(0).errHas("its default context again", "removed the context lima-dock");
        run("remove", "dock").exits(0).errHas("there is no context lima-dock");
        run("remove", "--all").exits(0).silent();
        assertEquals("", listed().path("context").asText());
    }

    @Test
    void contextsOfSandboxesThatAreGoneGo() {
        Path other = world.project("gone");
        world.at(other).run("gone", "true").exits(0);
        run("use", "gone").exits(0);
        world.delete("gone");
        run("create", "dock").exits(0).errHas("gone is no more", "removed the context lima-gone");
        run("remove", "--all").exits(0).errHas("lima-dock");
    }

    @Test
    void aContextFollowsItsSandboxToANewNameAndGoesWithIt() {
        Path other = world.project("named");
        world.at(other).run("named", "true").exits(0);
        run("use", "named").exits(0);

        cli().run("rename", "named", "renamed").exits(0);
        JsonNode renamed = Target.json(run("list", "renamed", "--json").exits(0).out()).get(0);
        assertEquals("lima-renamed", renamed.path("context").asText());
        assertTrue(renamed.path("current").asBoolean(), renamed::toString);

        cli().run("delete", "--yes", "renamed").exits(0);
        run("remove", "renamed").exits(0).errHas("there is no context lima-renamed").errLacks("is no more");
    }

    @Test
    void aShellIsPointedThereWithoutTheDockerCli() {
        String socket = "unix://" + world.lima.resolve("dock/sock/docker.sock");
        String without = World.CHECKOUT.resolve("testbed/bin") + ":"
                + new Programs(world.root.resolve("no-docker")).path();
        Cli cli = world.at(project).env("PATH", without).env("SHELL", "/usr/bin/fish");

        cli.run("docker-context", "env", "dock", "--shell", "bash").exits(0)
                .out("export DOCKER_HOST='" + socket + "'\n").silent();
        cli.run("docker-context", "env", ".").exits(0).out("set -gx DOCKER_HOST '" + socket + "'\n").silent();
        cli.run("docker-context", "list").exits(0).outHas("dock", "answers");
        cli.run("docker-context", "use", "dock").exits(125).errHas("docker CLI was not found", "To install it: ",
                "docker-context env NAME");
        run("env", "dock", "--shell", "csh").exits(2).errHas("bash, zsh, sh or fish");
    }

    @Test
    void aDeadForwardIsReplaced() {
        Path socket = world.lima.resolve("dock/sock/docker.sock");
        String master = world.run(project, "pgrep", "-f", "ssh.config -o LogLevel=ERROR -MNf lima-dock$")
                .strip();
        assertFalse(master.isEmpty(), "Lima's own master");
        master.lines().forEach(pid -> Cli.signal("KILL", Long.parseLong(pid)));
        World.await(20, "Docker is out of reach", () -> listed().path("docker").asText().equals("does not answer"));
        assertTrue(Files.exists(socket), "the file stays");

        run("env", "dock").exits(0).outHas(socket.toString()).errHas("was dead; made a new one");
        run("env", "dock").exits(0).silent();
        assertTrue(listed().path("docker").asText().startsWith("answers"), listed()::toString);
    }

    /** Right after a boot without cloud-init an emulated daemon needs longer than its answer is waited for. */
    @Test
    void aDockerThatIsBeingStartedKeepsItsForward() throws InterruptedException {
        world.at(project).run("dock", "pkill", "-STOP", "-f", "dockerd.p[l]").exits(0);
        Cli.Running asked = world.at(project).start("docker-context", "env", "dock");
        Thread.sleep(13_000); // the first answer is waited for ten seconds
        world.at(project).run("dock", "pkill", "-CONT", "-f", "dockerd.p[l]").exits(0);
        asked.ends(Duration.ofMinutes(1)).exits(0).outHas("docker.sock").errLacks("made a new one");
    }

    @Test
    void whatCannotBeIsRefusedClearly() {
        run("create", "nosuch").exits(2).errHas("no sandbox nosuch");
        run("create").exits(2).errHas("one of them");
        run("create", "dock", "--all").exits(2).errHas("one of them");
        run("create", world.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow())
                .exits(2).errHas("is a base");
        run("no-such-verb").exits(2).errHas("Usage:", "--help");
        run("--help").exits(0).outHas("Examples:", "env");
        run("use", "--help").exits(0).outHas("docker context use default");
    }
}
