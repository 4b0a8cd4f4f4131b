package dev.limasandbox.testbed;

import java.io.PrintStream;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** Lima's log lines (logrus): on stderr, as text, as coloured text on a terminal, or as JSON. */
final class Log {
    private static final List<String> LEVELS = List.of("trace", "debug", "info", "warning", "error", "fatal");
    private static final Pattern NEEDS_NO_QUOTES = Pattern.compile("[A-Za-z0-9\\-._/@^+]+");

    private static int threshold = LEVELS.indexOf("info");
    private static boolean json;
    private static final boolean TERMINAL = "true".equals(System.getProperty("standin.stderr.terminal"));
    private static final long STARTED = System.nanoTime();

    private Log() {}

    static void level(String level) {
        int index = LEVELS.indexOf(level.equals("warn") ? "warning" : level);
        if (index < 0) {
            throw new Fatal("not a valid logrus Level: \"" + level + "\"");
        }
        threshold = index;
    }

    static void format(String format) {
        if (!format.equals("json") && !format.equals("text")) {
            throw new Fatal("unsupported log-format: `" + format + "`");
        }
        json = format.equals("json");
    }

    static void debug(String message) {
        write("debug", message, Map.of());
    }

    static void info(String message) {
        write("info", message, Map.of());
    }

    static void info(String message, Map<String, String> fields) {
        write("info", message, fields);
    }

    static void warn(String message) {
        write("warning", message, Map.of());
    }

    static void warn(String message, Map<String, String> fields) {
        write("warning", message, fields);
    }

    static void error(String message) {
        write("error", message, Map.of());
    }

    static void fatal(String message) {
        write("fatal", message, Map.of());
    }

    static synchronized void write(String level, String message, Map<String, String> fields) {
        if (LEVELS.indexOf(level) < threshold) {
            return;
        }
        PrintStream err = System.err;
        if (json) {
            Map<String, Object> line = new TreeMap<>(fields);
            line.put("level", level);
            line.put("msg", message);
            line.put("time", now());
            err.println(Json.write(line));
        } else if (TERMINAL) {
            err.println(coloured(level, message, fields));
        } else {
            StringBuilder line = new StringBuilder(
                    "time=" + quote(now()) + " level=" + level + " msg=" + quote(message));
            new TreeMap<>(fields)
                    .forEach((key, value) -> line.append(' ').append(key).append('=').append(quote(value)));
            err.println(line);
        }
        err.flush();
    }

    private static String coloured(String level, String message, Map<String, String> fields) {
        int colour = switch (level) {
            case "info" -> 36;
            case "warning" -> 33;
            case "error", "fatal" -> 31;
            default -> 37;
        };
        String start = "\033[" + colour + "m";
        String word = level.toUpperCase(Locale.ROOT).substring(0, 4);
        StringBuilder line = new StringBuilder(String.format(
                "%s%s\033[0m[%04d] %-44s", start, word, (System.nanoTime() - STARTED) / 1_000_000_000, message));
        new TreeMap<>(fields)
                .forEach((key, value) -> line.append(' ')
                        .append(start)
                        .append(key)
                        .append("\033[0m=")
                        .append(quote(value)));
        return line.toString();
    }

    private static String now() {
        return Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
    }

    private static String quote(String value) {
        return value.isEmpty() || NEEDS_NO_QUOTES.matcher(value).matches() ? value : Json.quote(value);
    }
}
