package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The two catalogs: the one that is named in full, and the one that JBang looks for by itself. */
class CatalogTest {
    @Test
    void bothSayTheSame() throws IOException {
        assertEquals(
                Files.readString(Programs.ROOT.resolve("catalog.json")),
                Files.readString(Programs.ROOT.resolve("jbang-catalog.json")));
    }

    @Test
    void everyScriptHasItsAlias() throws IOException {
        Map<String, String> expected = new TreeMap<>();
        for (var script : Programs.scripts()) {
            String file = script.getFileName().toString();
            String name = file.substring(0, file.length() - ".java".length());
            String description = Files.readAllLines(script).get(1).substring("//DESCRIPTION ".length());
            expected.put(name, "scripts/" + file + " [-Dsandbox.command=jbang " + name + "@org] " + description);
        }
        Map<String, String> aliases = new TreeMap<>();
        JsonNode catalog = new JsonMapper().readTree(Programs.ROOT.resolve("catalog.json").toFile());
        catalog.path("aliases").properties().forEach(alias -> {
            JsonNode value = alias.getValue();
            aliases.put(
                    alias.getKey(),
                    "%s [%s] %s"
                            .formatted(
                                    value.path("script-ref").asText(),
                                    value.path("runtime-options").path(0).asText(),
                                    value.path("description").asText()));
        });
        assertEquals(expected, aliases);
    }
}
