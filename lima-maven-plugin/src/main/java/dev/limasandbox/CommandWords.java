package dev.limasandbox;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** How a command is read: as a run of Maven, or as a line for a shell. Pure. */
final class CommandWords {
    private CommandWords() {}

    /** A command: if it is a run of Maven, its arguments, else the whole argument vector. */
    record Read(boolean maven, List<String> words) {}

    /**
     * Reads a line. It is a run of Maven if its first word begins with -, is a phase, or contains a : and no /; the words
     * mvn and ./mvnw in front say it too. All else is one line for sh.
     *
     * @param phases those that the running Maven knows
     * @throws IllegalArgumentException with the way out, for a run of Maven that has an unquoted operator of the shell
     */
    static Read read(String line, Set<String> phases) {
        String first = line.strip().split("[\\s;|&<>]", 2)[0];
        boolean named = first.equals("mvn") || first.equals("./mvnw");
        if (first.isEmpty()) {
            throw new IllegalArgumentException("the command is empty: -Dcmd=test, -Dcmd='ls -l'");
        }
        if (!named && !first.startsWith("-") && !phases.contains(first)
                && !(first.contains(":") && !first.contains("/"))) {
            return new Read(false, List.of("sh", "-c", line.strip()));
        }
        List<String> words = split(line);
        return new Read(true, named ? words.subList(1, words.size()) : words);
    }

    /** Splits by the quoting rules of POSIX; nothing is expanded. */
    static List<String> split(String line) {
        List<String> words = new ArrayList<>();
        StringBuilder word = null;
        char quote = 0;
        for (int i = 0; i < line.length(); i++) {
            char c = line.charAt(i);
            if (quote != 0) {
                boolean escape = quote == '"' && c == '\\' && i + 1 < line.length()
                        && "\\\"$`".indexOf(line.charAt(i + 1)) >= 0;
                if (c == quote) {
                    quote = 0;
                } else {
                    word.append(escape ? line.charAt(++i) : c);
                }
            } else if (Character.isWhitespace(c)) {
                if (word != null) {
                    words.add(word.toString());
                    word = null;
                }
            } else if (";|&<>".indexOf(c) >= 0) {
                throw new IllegalArgumentException("'" + c + "' means something to a shell, and this is a run of Maven."
                        + " Quote it, or say that a shell is wanted: -Dcmd=\"sh -c '" + line.strip() + "'\"");
            } else {
                word = word == null ? new StringBuilder() : word;
                if (c == '\'' || c == '"') {
                    quote = c;
                } else {
                    word.append(c == '\\' && i + 1 < line.length() ? line.charAt(++i) : c);
                }
            }
        }
        if (quote != 0) {
            throw new IllegalArgumentException("a " + quote + " is not closed in: " + line);
        }
        if (word != null) {
            words.add(word.toString());
        }
        return words;
    }
}
