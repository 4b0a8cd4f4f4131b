package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** sandbox.java carries the text of templates/agent-sandbox.yaml, so that the script alone is enough. */
class TemplateTextTest {
    private static final Path SCRIPT = Programs.ROOT.resolve("scripts/sandbox.java");

    /** The text block: its indentation, and the lines that carry it. */
    private static final Pattern BLOCK = Pattern
            .compile("(static final String TEXT =\\s*\"\"\"\n)(.*?)\n?([ \t]*)\"\"\";", Pattern.DOTALL);

    @Test
    void isTheTemplate() throws IOException {
        String template = Files.readString(Programs.ROOT.resolve("templates/agent-sandbox.yaml"));
        if (Boolean.getBoolean("template.update")) {
            String script = Files.readString(SCRIPT);
            Files.writeString(SCRIPT, embed(script, template));
            return;
        }
        assertEquals(
                template,
                Sandbox.Template.TEXT,
                "mvn -pl scripts test -Dtest=TemplateTextTest -Dtemplate.update=true writes the template into the script");
    }

    @Test
    void embeddingKeepsEveryCharacter() {
        String template = "a: \\ \"\"\" \\n\n\n  trailing \n\ttab 'q' $1 \"\n";
        String script = "    static final String TEXT =\n            \"\"\"\n            old\n            \"\"\";\nrest";
        String embedded = embed(script, template);
        Matcher block = BLOCK.matcher(embedded);
        assertTrue(block.find());
        String text = block.group(2) + "\n" + block.group(3);
        assertEquals(template, text.stripIndent().translateEscapes());
        assertEquals("rest", embedded.substring(embedded.length() - 4));
        assertEquals(embedded, embed(embedded, template));
    }

    /** The script with the template in its text block. */
    private static String embed(String script, String template) {
        Matcher block = BLOCK.matcher(script);
        if (!block.find() || !template.endsWith("\n")) {
            throw new AssertionError("no text block TEXT in the script, or no newline at the template's end");
        }
        String indent = block.group(3);
        StringBuilder lines = new StringBuilder();
        for (String line : template.split("\n", -1)) {
            String escaped = line.replace("\\", "\\\\").replace("\"\"\"", "\\\"\"\"").replaceAll(" $", "\\\\s");
            lines.append(escaped.isEmpty() ? "" : indent).append(escaped).append('\n');
        }
        lines.setLength(lines.length() - 1);
        return script.substring(0, block.start())
                + block.group(1)
                + lines
                + indent
                + "\"\"\";"
                + script.substring(block.end());
    }
}
