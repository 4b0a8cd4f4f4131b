package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The rules by which Renovate finds versions in files that it does not know, applied as it does: a whole file is searched
 * for each regular expression. What they use means the same in Java as in RE2.
 */
class RenovateTest {
    /** All that the rules find: FILE NAME VERSION. */
    private static final List<String> FOUND = new ArrayList<>();

    @BeforeAll
    static void apply() throws IOException {
        JsonNode rules = new JsonMapper().readTree(Programs.ROOT.resolve("renovate.json").toFile());
        for (JsonNode manager : rules.path("customManagers")) {
            for (JsonNode written : manager.path("managerFilePatterns")) {
                String pattern = written.asText();
                assertTrue(pattern.matches("/.*/"), pattern + ": without slashes it would be a glob");
                Pattern name = Pattern.compile(pattern.substring(1, pattern.length() - 1));
                List<String> files = files().stream().filter(file -> name.matcher(file).find()).toList();
                assertFalse(files.isEmpty(), pattern + " matches no file");
                for (String file : files) {
                    find(file, manager);
                }
                assertTrue(FOUND.stream().anyMatch(found -> name.matcher(found.split(" ", -1)[0]).find()),
                        manager.path("description").asText() + ": nothing found in " + pattern);
            }
        }
    }

    private static void find(String file, JsonNode manager) throws IOException {
        String text = Files.readString(Programs.ROOT.resolve(file));
        for (JsonNode regex : manager.path("matchStrings")) {
            Matcher found = Pattern.compile(regex.asText()).matcher(text);
            while (found.find()) {
                String name = manager.path("depNameTemplate").asText();
                FOUND.add(file + " " + (name.isEmpty() ? found.group("depName") : name) + " "
                        + found.group("currentValue"));
            }
        }
    }

    /** Where such versions stand. */
    private static List<String> files() throws IOException {
        List<String> files = new ArrayList<>();
        for (String folder : List.of("scripts", "templates", ".github/workflows")) {
            try (var list = Files.list(Programs.ROOT.resolve(folder))) {
                list.filter(Files::isRegularFile).map(Programs.ROOT::relativize).map(Path::toString).sorted()
                        .forEach(files::add);
            }
        }
        return files;
    }

    @Test
    void everyDepsLineIsFound() throws IOException {
        List<String> expected = new ArrayList<>();
        for (Path script : Programs.scripts()) {
            Files.readAllLines(script).stream().filter(line -> line.startsWith("//DEPS ")).forEach(line -> {
                String dependency = line.substring("//DEPS ".length());
                int colon = dependency.lastIndexOf(':');
                expected.add("scripts/" + script.getFileName() + " " + dependency.substring(0, colon) + " "
                        + dependency.substring(colon + 1));
            });
        }
        assertFalse(expected.isEmpty());
        assertEquals(expected.stream().sorted().toList(),
                FOUND.stream().filter(found -> found.matches("scripts/\\S+ \\S+:\\S+ .*")).sorted().toList());
    }

    @Test
    void oneVersionOfEach() {
        Map<String, Set<String>> versions = new TreeMap<>();
        FOUND.forEach(found -> {
            String[] words = found.split(" ", -1);
            versions.computeIfAbsent(words[1], name -> new TreeSet<>()).add(words[2]);
        });
        assertTrue(versions.keySet().containsAll(List.of("lima-vm/lima", "github.com/mikefarah/yq/v4")),
                versions::toString);
        assertEquals(Set.of(LimaInstall.LIMA), versions.get("lima-vm/lima"));
        assertTrue(versions.values().stream().allMatch(each -> each.size() == 1), versions::toString);
    }
}
