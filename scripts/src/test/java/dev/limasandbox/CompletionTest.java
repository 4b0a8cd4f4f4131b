package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;

/** The words of the scripts: those that sandboxes.java has for the shells' completion, and the lists of verbs. */
class CompletionTest {
    @Test
    void knowsEveryScriptsVerbsAndOptions() {
        List<String> rows = new ArrayList<>();
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            if (spec.name().equals("sandboxes")) {
                continue;
            }
            Map<String, CommandSpec> verbs = Specs.verbs(spec);
            if (verbs.isEmpty()) {
                rows.add(row(spec.name(), "-", spec));
            }
            verbs.forEach((verb, line) -> rows.add(row(spec.name(), verb, line)));
        }
        assertEquals(rows.stream().sorted().collect(Collectors.joining("\n")),
                Sandboxes.Completion.OTHERS.lines().sorted().collect(Collectors.joining("\n")),
                "what is expected belongs into OTHERS of sandboxes.java");
    }

    private static String row(String script, String verb, CommandSpec spec) {
        return spec.options().stream().filter(option -> !option.hidden()).map(option -> " " + option.longestName())
                .collect(Collectors.joining("", script + " " + verb, ""));
    }

    /** The list of verbs shows a description's first line, and man pages take it for their heading. */
    @Test
    void everySummaryIsASentence() {
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            List<CommandSpec> all = new ArrayList<>(List.of(spec));
            spec.subcommands().values().forEach(line -> all.add(line.getCommandSpec()));
            for (CommandSpec each : all) {
                String summary = each.usageMessage().description()[0];
                assertTrue(summary.endsWith("."), each.qualifiedName() + ": " + summary);
            }
        }
    }

    /** Those that a user sees are told of. */
    @Test
    void everyOptionIsDescribed() {
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            spec.args().stream().filter(arg -> !arg.hidden()).forEach(arg -> described(spec, arg));
            spec.subcommands().values().forEach(line -> line.getCommandSpec().args().stream()
                    .filter(arg -> !arg.hidden()).forEach(arg -> described(line.getCommandSpec(), arg)));
        }
    }

    private static void described(CommandSpec spec, ArgSpec arg) {
        assertTrue(arg.description().length > 0 && arg.description()[0].length() > 3,
                spec.qualifiedName() + ": " + arg.paramLabel() + " " + arg);
    }
}
