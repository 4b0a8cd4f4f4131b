package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Each verb on an instance that is missing, foreign, a base, or, twice in a row, stopped, running or broken: which of them
 * it is for. What the verbs do is tested beside them; here none of them changes a state, so that the next has the same.
 */
class SandboxesStatesTest {
    private static World world;
    private static List<String> instances;
    private static Path project;

    @BeforeAll
    static void oneOfEach() {
        world = World.shared();
        project = world.project("states");
        String base = world.instances().stream().filter(n -> n.startsWith("base-")).findFirst().orElseThrow();
        world.limactl("clone", base, "alien", "--tty=false", "--set", ".param.sandbox = \"\"");
        for (String name : List.of("st-off", "st-on", "st-bad")) {
            world.at(project).run("--yes", name, "true").exits(0);
        }
        world.stop("st-off");
        Cli.signal("KILL", Long.parseLong(World.read(world.lima.resolve("st-bad/ha.pid")).strip()));
        World.await(10, "it is broken", () -> world.status("st-bad").equals("Broken"));
        instances = List.of("missing", "alien", base, "st-off", "st-on", "st-bad");
    }

    @AfterAll
    static void away() {
        world.delete("alien", "st-off", "st-on", "st-bad");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            // verb                        | missing alien base stopped running broken
            "list NAME                     | 2 125 0 0 0 0",
            "start NAME                    | 2 125 125 - 0 -",
            "stop NAME                     | 2 125 125 0 - -",
            "edit NAME --cpus 1            | 2 125 125 0 0 0",
            "ports NAME                    | 2 125 125 0 0 0",
            "usage NAME                    | 2 125 125 0 0 0",
            "trim NAME                     | 2 125 125 125 0 125",
            "cp NAME:/etc/hostname -       | 2 125 125 125 0 125",
            "clone NAME st-on              | 2 125 125 125 125 125",
            "rename NAME alien             | 2 125 125 125 125 125",
            "snapshot list NAME            | 2 0 2 0 0 125",
            "snapshot create NAME --tag=1  | 2 2 2 2 2 2",
            "snapshot apply NAME nope      | 2 125 2 2 2 125",
            "snapshot delete NAME nope     | 2 125 2 2 2 125",
            "snapshot try NAME --keep      | 2 125 2 2 2 125",
    })
    void onEach(String call, String wanted) {
        List<String> codes = List.of(wanted.split(" "));
        String seen = java.util.stream.IntStream.range(0, instances.size()).parallel().mapToObj(i -> {
            if (codes.get(i).equals("-")) { // it would change the state; see SandboxesLifeTest
                return "-";
            }
            String[] words = call.replace("NAME", instances.get(i)).split(" +");
            int first = world.at(project).run(words).exit();
            int second = i < 3 ? first : world.at(project).run(words).exit();
            return first == second ? "" + first : first + "," + second;
        }).collect(Collectors.joining(" "));
        assertEquals(wanted, seen);
    }
}
