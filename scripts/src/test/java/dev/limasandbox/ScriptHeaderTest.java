package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What makes a file of scripts/ a JBang script that stands alone, and that Maven compiles with the same libraries. */
class ScriptHeaderTest {
    private static final Pattern HEADER = Pattern.compile("""
            ///usr/bin/env jbang "\\$0" "\\$@" ; exit \\$\\?
            //DESCRIPTION \\S.*\\.
            //JAVA 17\\+
            (//DEPS \\S+
            )+(//[A-Z_]+ .*
            )*package dev\\.limasandbox;
            """);

    @TestFactory
    Stream<DynamicTest> everyScript() throws IOException {
        Map<String, String> versions = versions(Files.readString(Programs.ROOT.resolve("pom.xml")));
        assertTrue(versions.containsKey("info.picocli:picocli"), versions::toString);
        return Programs.scripts().stream()
                .map(script -> DynamicTest.dynamicTest(
                        script.getFileName().toString(), () -> check(script, Files.readString(script), versions)));
    }

    private static void check(Path script, String text, Map<String, String> versions) {
        String file = script.getFileName().toString();
        String type = className(file);
        List<String> dependencies = text.lines()
                .filter(line -> line.startsWith("//DEPS "))
                .map(line -> line.substring("//DEPS ".length()))
                .toList();
        List<String> fromPom = dependencies.stream()
                .map(dependency -> dependency.substring(0, dependency.lastIndexOf(':')))
                .map(artifact -> artifact + ":" + versions.get(artifact))
                .toList();
        assertAll(
                () -> assertTrue(HEADER.matcher(text).lookingAt(), "the header or its order in\n" + head(text)),
                () -> assertEquals(fromPom, dependencies, "the versions of the pom"),
                () -> assertTrue(
                        Pattern.compile("(?m)^(?:final )?class " + type + "\\b")
                                .matcher(text)
                                .find(),
                        "no package-private class " + type),
                () -> assertFalse(
                        Pattern.compile("(?m)^public .*\\b(?:class|record|interface|enum) ")
                                .matcher(text)
                                .find(),
                        "a public top-level class, which must not stand in " + file),
                () -> assertFalse(
                        Pattern.compile("(?m)^//(?:FILES|SOURCES|CDS)\\b")
                                .matcher(text)
                                .find(),
                        "//FILES, //SOURCES or //CDS: a copied script has no neighbours, and //CDS writes to stdout"));
    }

    /** docker-context.java has the class DockerContext, as the launcher expects. */
    static String className(String file) {
        return Pattern.compile("(?:^|-)([a-z])")
                .matcher(file.substring(0, file.length() - ".java".length()))
                .replaceAll(match -> match.group(1).toUpperCase(java.util.Locale.ROOT));
    }

    /** The managed dependencies of a pom: group:artifact to version. */
    private static Map<String, String> versions(String pom) {
        Map<String, String> versions = new TreeMap<>();
        Pattern.compile("<groupId>(.+)</groupId>\\s*<artifactId>(.+)</artifactId>\\s*<version>\\$\\{(.+)}</version>")
                .matcher(pom)
                .results()
                .forEach(found -> {
                    String property = Pattern.quote("<" + found.group(3) + ">") + "(.+)</";
                    var value = Pattern.compile(property).matcher(pom);
                    assertTrue(value.find(), property);
                    versions.put(found.group(1) + ":" + found.group(2), value.group(1));
                });
        return versions;
    }

    private static String head(String text) {
        return String.join("\n", text.lines().limit(12).toList());
    }
}
