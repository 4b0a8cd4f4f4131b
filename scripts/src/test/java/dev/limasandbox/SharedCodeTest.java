package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The classes that each script carries a copy of, between their marker lines. */
class SharedCodeTest {
    private static final Map<String, Integer> LINES = Map.of("Lima", 127, "Life", 270, "Caller", 110);

    @Test
    void isTheSameInEveryScriptAndShort() throws IOException {
        Map<String, String> first = new HashMap<>();
        for (var script : Programs.scripts()) {
            for (Block block : blocks(script.getFileName().toString(), Files.readAllLines(script))) {
                Integer limit = LINES.get(block.name);
                assertTrue(limit != null, block + ": a shared class that this test does not know");
                long code = block.lines.stream().map(String::strip)
                        .filter(l -> !l.isEmpty() && !l.startsWith("/*") && !l.startsWith("*")).count();
                assertTrue(code < limit, block + ": " + code + " lines of code");
                String text = String.join("\n", block.lines);
                assertTrue(text.contains(" class " + block.name + " "), block + ": no class of that name");
                first.putIfAbsent(block.name, text);
                assertEquals(first.get(block.name), text, block + ": not the text that other scripts have");
            }
        }
        assertTrue(first.containsKey("Lima"), "no script has the marker lines of Lima");
    }

    @Test
    void blocksAreFound() {
        List<Block> blocks = blocks(
                "a.java",
                List.of(
                        "x",
                        "    // --- Lima: the same text in every script ---",
                        "    class Lima {}",
                        "    // --- end of Lima ---",
                        "y"));
        assertEquals(List.of(new Block("a.java", "Lima", List.of("    class Lima {}"))), blocks);
    }

    private record Block(String file, String name, List<String> lines) {
        @Override
        public String toString() {
            return file + ": " + name;
        }
    }

    private static List<Block> blocks(String file, List<String> lines) {
        List<Block> blocks = new ArrayList<>();
        Block open = null;
        for (String line : lines) {
            String text = line.strip();
            if (text.startsWith("// --- end of ")) {
                assertTrue(open != null, file + ": an end without a beginning: " + text);
                assertEquals("// --- end of " + open.name + " ---", text, file);
                blocks.add(open);
                open = null;
            } else if (text.startsWith("// --- ") && text.contains(": the same text in every script")) {
                assertTrue(open == null, file + ": a block within a block: " + text);
                open = new Block(file, text.substring("// --- ".length(), text.indexOf(':')), new ArrayList<>());
            } else if (open != null) {
                open.lines.add(line);
            }
        }
        assertTrue(open == null, file + ": no end of " + open);
        return blocks;
    }
}
