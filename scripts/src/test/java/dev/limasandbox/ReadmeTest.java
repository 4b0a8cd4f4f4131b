package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import picocli.CommandLine.Model.CommandSpec;

/** What of the README can be compared: its commands with the scripts, its links with what they lead to. */
class ReadmeTest {
    private static String text;

    @BeforeAll
    static void read() throws IOException {
        text = Files.readString(Programs.ROOT.resolve("README.md"));
    }

    /** Every alias and every verb, as typed with the launcher, and none that there is not. */
    @Test
    void theReferenceHasEveryCommand() throws IOException {
        Set<String> expected = new TreeSet<>();
        Set<String> scripts = new TreeSet<>();
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            Map<String, CommandSpec> verbs = Specs.verbs(spec);
            String name = spec.name();
            scripts.add(name);
            if (name.equals("sandboxes") || verbs.isEmpty()) {
                expected.add(name.equals("sandbox") ? "sandbox" : "sandbox " + name);
            }
            verbs.keySet().forEach(verb -> expected
                    .add("sandbox " + (name.equals("sandboxes") ? "" : name + " ") + verb));
        }
        Set<String> aliases = new TreeSet<>();
        new JsonMapper().readTree(Programs.ROOT.resolve("catalog.json").toFile()).path("aliases").fieldNames()
                .forEachRemaining(aliases::add);
        assertEquals(scripts, aliases, "the scripts and their aliases");

        String reference = text.substring(text.indexOf("\n## Reference\n"));
        reference = reference.substring(0, reference.indexOf("\n## ", 4));
        Set<String> seen = reference.lines().filter(line -> line.startsWith("| `sandbox"))
                .map(line -> line.substring(3, line.indexOf('`', 3)))
                .map(command -> Stream.of(command.split(" ", -1)).takeWhile(word -> word.matches("[a-z-]+")
                        && !word.startsWith("-")).collect(Collectors.joining(" ")))
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(String.join("\n", expected), String.join("\n", seen), "the rows of the reference");
    }

    @Test
    void everyLinkLeadsSomewhere() {
        List<String> headings = text.lines().filter(line -> line.matches("#{2,3} .*"))
                .map(line -> line.replaceFirst("#+ ", "").toLowerCase(Locale.ROOT)
                        .replaceAll("[^\\p{L}\\p{N} _-]", "").replace(' ', '-'))
                .toList();
        assertEquals(headings.size(), Set.copyOf(headings).size(), "two headings are called alike");
        List<String> links = Pattern.compile("]\\(([^)]+)\\)").matcher(text).results().map(found -> found.group(1))
                .toList();
        for (String link : links) {
            if (link.startsWith("#")) {
                assertTrue(headings.contains(link.substring(1)), link);
            } else if (!link.startsWith("https://")) {
                assertTrue(Files.exists(Programs.ROOT.resolve(link)), link);
            }
        }
        String contents = text.substring(text.indexOf("**Contents**"), text.indexOf("\n## "));
        text.lines().filter(line -> line.startsWith("## ")).map(line -> line.substring(3))
                .forEach(chapter -> assertTrue(contents.contains("[" + chapter + "](#"),
                        chapter + " is not in the contents"));
    }

    @Test
    void picturesAreSmallAndShown() throws Exception {
        try (var files = Files.list(Programs.ROOT.resolve("docs"))) {
            for (Path picture : files.filter(file -> file.toString().endsWith(".svg")).toList()) {
                String drawn = Files.readString(picture);
                assertTrue(drawn.length() < 40_000, picture + ": " + drawn.length());
                assertEquals("svg", DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(picture.toFile())
                        .getDocumentElement().getTagName());
                assertTrue(text.contains("(docs/" + picture.getFileName() + ")"), picture + " is not in the README");
                assertFalse(drawn.contains("/tmp/"), picture + " shows where it was recorded");
            }
        }
    }
}
