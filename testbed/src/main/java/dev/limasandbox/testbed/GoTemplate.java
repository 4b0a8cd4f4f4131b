package dev.limasandbox.testbed;

import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The part of Go's text/template that Lima's own files and {@code list --format} use. */
final class GoTemplate {
    private static final Pattern ACTION = Pattern.compile("(\\s*)?\\{\\{(-)?\\s*(.*?)\\s*(-)?}}(\\s*)?",
            Pattern.DOTALL);
    private static final Pattern STRING = Pattern.compile("\"((?:[^\"\\\\]|\\\\.)*)\"|`([^`]*)`");
    private static final Pattern FIELD = Pattern.compile("(json\\s+)?(\\.|(?:\\.[A-Za-z0-9_]+)+)");

    private GoTemplate() {}

    /**
     * The text with {@code {{.A.B}}}, {@code {{json .A}}} and {@code {{"text"}}} replaced.
     *
     * @throws IllegalArgumentException for any other action
     */
    static String expand(String text, Map<String, Object> fields) {
        if (!text.contains("{{")) {
            return text;
        }
        StringBuilder out = new StringBuilder();
        Matcher action = ACTION.matcher(text);
        int end = 0;
        while (action.find()) {
            out.append(text, end, action.start());
            out.append(action.group(2) == null && action.group(1) != null ? action.group(1) : "");
            out.append(value(action.group(3), fields));
            out.append(action.group(4) == null && action.group(5) != null ? action.group(5) : "");
            end = action.end();
        }
        return out.append(text.substring(end)).toString();
    }

    private static String value(String action, Map<String, Object> fields) {
        Matcher string = STRING.matcher(action);
        if (string.matches()) {
            return string.group(1) != null ? string.group(1).replaceAll("\\\\(.)", "$1") : string.group(2);
        }
        Matcher field = FIELD.matcher(action);
        if (!field.matches()) {
            throw new IllegalArgumentException("stand-in: not understood: {{" + action + "}}");
        }
        Object value = fields;
        for (String name : field.group(2).substring(1).split("\\.")) {
            if (!name.isEmpty()) {
                value = lookup(value, name);
            }
        }
        return field.group(1) != null ? Json.write(value) : value == null ? "<no value>" : String.valueOf(value);
    }

    /** Go field names differ from JSON keys only in case: SSHLocalPort, sshLocalPort. */
    private static Object lookup(Object value, String name) {
        if (value instanceof Map<?, ?> map) {
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                if (String.valueOf(entry.getKey()).equalsIgnoreCase(name)) {
                    return entry.getValue();
                }
            }
        }
        return null;
    }
}
