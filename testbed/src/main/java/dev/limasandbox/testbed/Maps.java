package dev.limasandbox.testbed;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads values out of parsed YAML without a cast at every step. */
final class Maps {
    private Maps() {}

    static Map<String, Object> copy(Map<?, ?> map) {
        Map<String, Object> copy = new LinkedHashMap<>();
        map.forEach((key, value) -> copy.put(String.valueOf(key), value));
        return copy;
    }

    /** The map under a key; an empty one if there is none. */
    static Map<String, Object> map(Map<String, Object> from, String key) {
        return from.get(key) instanceof Map<?, ?> map ? copy(map) : new LinkedHashMap<>();
    }

    /** The maps in the list under a key. */
    static List<Map<String, Object>> maps(Map<String, Object> from, String key) {
        List<Map<String, Object>> maps = new ArrayList<>();
        if (from.get(key) instanceof List<?> list) {
            for (Object item : list) {
                if (item instanceof Map<?, ?> map) {
                    maps.add(copy(map));
                }
            }
        }
        return maps;
    }

    static String text(Map<String, Object> from, String key, String otherwise) {
        return from.get(key) == null ? otherwise : from.get(key).toString();
    }

    static boolean flag(Map<String, Object> from, String key, boolean otherwise) {
        return from.get(key) instanceof Boolean flag ? flag : otherwise;
    }

    static int number(Map<String, Object> from, String key, int otherwise) {
        return from.get(key) instanceof Number number ? number.intValue() : otherwise;
    }
}
