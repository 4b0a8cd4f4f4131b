package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.maven.model.Build;
import org.apache.maven.project.MavenProject;

/**
 * What in a tree the host's Maven has run before a goal of ours is asked: a change of it is told, afterwards. That is no
 * protection; for a tree that an agent may have changed, Maven is started in the sandbox, or from outside of the tree.
 */
final class Trust {
    private static final String EXTENSION = "build extension ";

    private Trust() {}

    /** The files in .mvn, all of which Maven or its wrapper may read. */
    static List<Path> dotMvn(Path root) {
        Path dir = root.resolve(".mvn");
        return Sandbox.Lima.io(() -> {
            try (Stream<Path> all = Files.isDirectory(dir) ? Files.walk(dir.toRealPath(), 3) : Stream.empty()) {
                return all.filter(f -> Files.isRegularFile(f)).limit(500).sorted().toList();
            }
        });
    }

    /** A file's bytes as letters; of a very long one the beginning, and nothing for what is no file. */
    static String text(Path file) {
        return Sandbox.Lima.io(() -> {
            try (var in = Files.newInputStream(file)) {
                return new String(in.readNBytes(1_000_000), ISO_8859_1);
            } catch (IOException unreadable) {
                return "";
            }
        });
    }

    /**
     * The warning, if something of a build is another than at the last call; what there is now is remembered. Build
     * extensions stay in the record, as not every call builds every module.
     *
     * @param projects whose POMs Maven has read
     */
    static Optional<String> changed(Path root, List<MavenProject> projects) {
        Path record = new Sandbox.Lima(System.getenv()).state("maven")
                .resolve(Sandbox.Lima.hash(root.toString()).substring(0, 16));
        Map<String, String> now = new TreeMap<>();
        Path real = Sandbox.Places.real(root);
        Stream.concat(dotMvn(real).stream(), Stream.of(real.resolve("mvnw"), real.resolve("mvnw.cmd")))
                .filter(Files::isRegularFile)
                .forEach(f -> now.put(real.relativize(f).toString(), Sandbox.Lima.hash(text(f))));
        projects.forEach(p -> extensions(p.getBuild()).forEach(e -> now.put(EXTENSION + e, "-")));
        boolean first = !Files.exists(record);
        Map<String, String> before = new TreeMap<>();
        if (!first) {
            Sandbox.Lima.io(() -> Files.readAllLines(record)).stream().map(l -> l.split(" ", 2))
                    .filter(l -> l.length == 2).forEach(l -> before.put(l[1], l[0]));
        }
        before.forEach((what, hash) -> {
            if (what.startsWith(EXTENSION)) {
                now.putIfAbsent(what, hash);
            }
        });
        Sandbox.Store.write(record, now.entrySet().stream().map(e -> e.getValue() + " " + e.getKey() + "\n")
                .collect(Collectors.joining()));
        TreeSet<String> which = new TreeSet<>(now.keySet());
        which.addAll(before.keySet());
        which.removeIf(w -> now.getOrDefault(w, "").equals(before.getOrDefault(w, "")));
        return first || which.isEmpty() ? Optional.empty()
                : Optional.of(
                        "changed since the last lima:exec here, and run by Maven on this computer before this goal: "
                                + String.join(", ", which) + ". If an agent may have done that: sandbox . mvn …, or"
                                + " lima:exec -Dlima.dir=" + root + " from outside of it");
    }

    private static Stream<String> extensions(Build build) {
        return build == null ? Stream.empty() : Stream.concat(
                build.getExtensions().stream()
                        .map(e -> e.getGroupId() + ":" + e.getArtifactId() + ":" + e.getVersion()),
                build.getPlugins().stream().filter(p -> p.isExtensions()).map(p -> p.getId()));
    }
}
