package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What in a tree the host's Maven has run before a goal of ours is asked: a change of it is told, afterwards. That is no
 * protection; for a tree that an agent may have changed, Maven is started in the sandbox, or from outside of the tree.
 */
final class Trust {
    private static final List<String> FILES = List.of(".mvn/jvm.config", ".mvn/maven.config", ".mvn/extensions.xml",
            ".mvn/wrapper/maven-wrapper.properties", ".mvn/wrapper/maven-wrapper.jar", "mvnw");

    private Trust() {}

    /** The warning, if one of the files of a build's root is another than at the last call; the present are remembered. */
    static Optional<String> changed(Path root) {
        Sandbox.Lima lima = new Sandbox.Lima(System.getenv());
        Path record = lima.state("maven").resolve(Sandbox.Lima.hash(root.toString()).substring(0, 16));
        TreeMap<String, String> now = new TreeMap<>();
        for (String file : FILES) {
            Path path = root.resolve(file);
            if (Files.isRegularFile(path)) {
                now.put(file, Sandbox.Lima.hash(Sandbox.Lima.io(() -> Files.readString(path, ISO_8859_1))));
            }
        }
        String text = now.entrySet().stream().map(e -> e.getValue() + " " + e.getKey() + "\n")
                .collect(Collectors.joining());
        Optional<String> before = Files.exists(record) ? Optional.of(Sandbox.Lima.io(() -> Files.readString(record)))
                : Optional.empty();
        Sandbox.Lima.io(() -> Files.writeString(record, text));
        if (before.isEmpty() || before.get().equals(text)) {
            return Optional.empty();
        }
        String which = FILES.stream().filter(f -> !line(before.get(), f).equals(line(text, f)))
                .collect(Collectors.joining(", "));
        return Optional.of("changed since the last lima:exec here, and run by Maven on this computer before this goal: "
                + which + ". If an agent may have done that: sandbox . mvn …, or lima:exec -Dlima.dir=" + root
                + " from outside of it");
    }

    private static String line(String record, String file) {
        return Stream.of(record.split("\n")).filter(l -> l.endsWith(" " + file)).findFirst().orElse("");
    }
}
