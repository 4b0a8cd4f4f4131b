package dev.limasandbox.testbed;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Command-line flags as Go's pflag reads them: {@code --flag=value}, {@code --flag value}, {@code -f}, in any place up
 * to {@code --}. A flag that was not declared is an error, never ignored.
 */
final class Flags {
    private final Map<String, Boolean> takesValue = new HashMap<>();
    private final Map<String, String> shorthands = new HashMap<>();
    private final Map<String, List<String>> given = new HashMap<>();
    private final List<String> arguments = new ArrayList<>();
    private boolean interspersed = true;

    /** The flags that every subcommand knows. */
    static Flags common() {
        return new Flags()
                .value("log-level")
                .value("log-format")
                .bool("debug")
                .bool("tty")
                .bool("yes", "y");
    }

    Flags value(String... names) {
        return declare(true, names);
    }

    Flags bool(String name) {
        takesValue.put(name, false);
        return this;
    }

    Flags bool(String name, String shorthand) {
        shorthands.put(shorthand, name);
        return bool(name);
    }

    Flags value(String name, char shorthand) {
        shorthands.put(String.valueOf(shorthand), name);
        return declare(true, name);
    }

    private Flags declare(boolean value, String... names) {
        for (String name : names) {
            takesValue.put(name, value);
        }
        return this;
    }

    /** Flags end at the first argument, as for {@code limactl shell}. */
    Flags upToFirstArgument() {
        interspersed = false;
        return this;
    }

    Flags parse(List<String> words) {
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            if (word.equals("--")) {
                arguments.addAll(words.subList(i + 1, words.size()));
                break;
            }
            if (!word.startsWith("-") || word.equals("-")) {
                arguments.add(word);
                if (!interspersed) {
                    arguments.addAll(words.subList(i + 1, words.size()));
                    break;
                }
                continue;
            }
            int equals = word.indexOf('=');
            String spelled = equals < 0 ? word : word.substring(0, equals);
            String name = nameOf(spelled, word);
            String value;
            if (equals >= 0) {
                value = word.substring(equals + 1);
            } else if (takesValue.get(name)) {
                if (++i == words.size()) {
                    throw new Fatal("flag needs an argument: " + word);
                }
                value = words.get(i);
            } else {
                value = "true";
            }
            if (!takesValue.get(name) && !value.equals("true") && !value.equals("false")) {
                throw new Fatal("invalid argument \"" + value + "\" for \"--" + name + "\" flag: invalid syntax");
            }
            given.computeIfAbsent(name, key -> new ArrayList<>()).add(value);
        }
        applyCommon();
        return this;
    }

    private String nameOf(String spelled, String word) {
        if (spelled.startsWith("--")) {
            String name = spelled.substring(2);
            if (!takesValue.containsKey(name)) {
                throw new Fatal("unknown flag: --" + name);
            }
            return name;
        }
        String name = shorthands.get(spelled.substring(1));
        if (name == null) {
            throw new Fatal("unknown shorthand flag: '" + word.charAt(1) + "' in " + word);
        }
        return name;
    }

    private void applyCommon() {
        if (has("debug")) {
            Log.level("debug");
        }
        if (has("log-level")) {
            Log.level(get("log-level"));
        }
        if (has("log-format")) {
            Log.format(get("log-format"));
        }
        if (is("yes") && is("tty")) {
            throw new Fatal("if any flags in the group [yes tty] are set none of the others can be");
        }
    }

    boolean has(String name) {
        return given.containsKey(name);
    }

    boolean is(String name) {
        return has(name) && get(name).equals("true");
    }

    String get(String name) {
        List<String> values = given.get(name);
        return values == null ? null : values.get(values.size() - 1);
    }

    List<String> all(String name) {
        return given.getOrDefault(name, List.of());
    }

    List<String> arguments() {
        return arguments;
    }

    /** The only argument; fewer or more are an error, as cobra words it. */
    String onlyArgument() {
        if (arguments.size() != 1) {
            throw new Fatal("accepts 1 arg(s), received " + arguments.size());
        }
        return arguments.get(0);
    }
}
