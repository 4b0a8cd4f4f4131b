package dev.limasandbox.testbed;

import java.io.StringReader;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.yaml.snakeyaml.DumperOptions;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.comments.CommentLine;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.nodes.MappingNode;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.NodeTuple;
import org.yaml.snakeyaml.nodes.ScalarNode;
import org.yaml.snakeyaml.nodes.SequenceNode;
import org.yaml.snakeyaml.nodes.Tag;
import org.yaml.snakeyaml.representer.Representer;
import org.yaml.snakeyaml.resolver.Resolver;

/** YAML as Lima treats it: read as values, or edited as text so that comments, order and flow style stay. */
final class Yaml {
    private static final Pattern ASSIGNMENT = Pattern.compile(
            "\\s*((?:\\.[A-Za-z0-9_]+|\\.?\"[^\"]+\"|\\.?\\[\\d+]"
                    + "|\\.?\\[\"[^\"]+\"])+)\\s*(\\+?)=\\s*([\\[{\"0-9-].*|true|false|null)\\s*",
            Pattern.DOTALL);
    private static final Pattern STEP = Pattern.compile("\\.?\\[(\\d+)]|\\.?\\[?\"([^\"]+)\"]?|\\.([A-Za-z0-9_]+)");

    private Yaml() {}

    /** The values in a text; null for an empty one. */
    static Object read(String text) {
        try {
            return engine(false).load(text);
        } catch (YAMLException e) {
            throw new Fatal("failed to unmarshal YAML: " + firstLines(e));
        }
    }

    static Map<String, Object> readMap(String text) {
        Object value = read(text);
        if (value == null) {
            return new LinkedHashMap<>();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw new Fatal("failed to unmarshal YAML: the document is not a mapping");
        }
        return Maps.copy(map);
    }

    /** The document as a tree that remembers how it was written. */
    static MappingNode parse(String text) {
        try {
            Node node = engine(true).compose(new StringReader(text));
            return node instanceof MappingNode map ? map : newMap();
        } catch (YAMLException e) {
            throw new Fatal("failed to unmarshal YAML: " + firstLines(e));
        }
    }

    static String print(Node node) {
        StringWriter out = new StringWriter();
        engine(true).serialize(node, out);
        return out.toString();
    }

    /**
     * Carries out one {@code --set}. Lima takes any yq expression; the project uses {@code .a.b = JSON} and {@code .a.b
     * += [JSON]} only, and anything else is an error here.
     */
    static void set(MappingNode root, String expression) {
        Matcher assignment = ASSIGNMENT.matcher(expression);
        if (!assignment.matches()) {
            throw new Fatal("stand-in: --set understands only '.a.b = JSON' and '.a.b += [JSON]', not: " + expression);
        }
        List<Object> path = new ArrayList<>();
        Matcher step = STEP.matcher(assignment.group(1));
        while (step.find()) {
            path.add(
                    step.group(1) != null
                            ? (Object) Integer.valueOf(step.group(1))
                            : step.group(2) != null ? step.group(2) : step.group(3));
        }
        Node value = node(json(assignment.group(3), expression));
        if (assignment.group(2).isEmpty()) {
            set(root, path, value);
        } else {
            append(root, path, value, expression);
        }
    }

    /** {@code .a += [JSON, …]}: appends to a list, which is made where there is none. */
    private static void append(MappingNode root, List<?> path, Node value, String expression) {
        if (!(value instanceof SequenceNode more)) {
            throw new Fatal("stand-in: --set understands += with a list only, not: " + expression);
        }
        Node at = root;
        for (Object key : path) {
            at = at == null ? null : child(at, key);
        }
        if (at instanceof SequenceNode list) {
            list.getValue().addAll(more.getValue());
        } else {
            set(root, path, value);
        }
    }

    private static Object json(String text, String expression) {
        Object value;
        try {
            value = engine(false).load(text);
        } catch (YAMLException e) {
            value = e;
        }
        boolean number = text.matches("(?s)[0-9-].*");
        if (value instanceof YAMLException || (number && !(value instanceof Number))) {
            throw new Fatal("stand-in: --set understands only '.a.b = JSON' and '.a.b += [JSON]', not: " + expression);
        }
        return value;
    }

    static void set(MappingNode root, List<?> path, Node value) {
        Node at = root;
        for (int i = 0; i < path.size() - 1; i++) {
            Node next = child(at, path.get(i));
            if (next == null || next.getTag().equals(Tag.NULL)) {
                next = path.get(i + 1) instanceof Integer ? newList() : newMap();
                put(at, path.get(i), next);
            }
            at = next;
        }
        put(at, path.get(path.size() - 1), value);
    }

    static Node child(Node node, Object key) {
        if (node instanceof MappingNode map && key instanceof String) {
            for (NodeTuple tuple : map.getValue()) {
                if (tuple.getKeyNode() instanceof ScalarNode scalar
                        && scalar.getValue().equals(key)) {
                    return tuple.getValueNode();
                }
            }
            return null;
        }
        if (node instanceof SequenceNode list && key instanceof Integer index) {
            return index < list.getValue().size() ? list.getValue().get(index) : null;
        }
        throw new Fatal("cannot index " + node.getTag() + " with '" + key + "'");
    }

    private static void put(Node node, Object key, Node value) {
        if (node instanceof MappingNode map && key instanceof String name) {
            List<NodeTuple> tuples = map.getValue();
            for (int i = 0; i < tuples.size(); i++) {
                if (tuples.get(i).getKeyNode() instanceof ScalarNode scalar
                        && scalar.getValue().equals(name)) {
                    value.setInLineComments(tuples.get(i).getValueNode().getInLineComments());
                    tuples.set(i, new NodeTuple(scalar, value));
                    return;
                }
            }
            tuples.add(new NodeTuple(scalar(name), value));
        } else if (node instanceof SequenceNode list && key instanceof Integer index) {
            while (list.getValue().size() <= index) {
                list.getValue().add(new ScalarNode(Tag.NULL, "null", null, null, DumperOptions.ScalarStyle.PLAIN));
            }
            list.getValue().set(index, value);
        } else {
            throw new Fatal("cannot index " + node.getTag() + " with '" + key + "'");
        }
    }

    /** Removes a key; the comment above it stays, above the next one. */
    static void remove(MappingNode map, String key) {
        List<NodeTuple> tuples = map.getValue();
        for (int i = 0; i < tuples.size(); i++) {
            if (tuples.get(i).getKeyNode() instanceof ScalarNode scalar
                    && scalar.getValue().equals(key)) {
                tuples.remove(i);
                if (i < tuples.size()) {
                    moveComments(scalar, tuples.get(i).getKeyNode());
                }
                return;
            }
        }
    }

    private static void moveComments(Node from, Node to) {
        if (from.getBlockComments() != null && !from.getBlockComments().isEmpty()) {
            List<CommentLine> all = new ArrayList<>(from.getBlockComments());
            all.addAll(to.getBlockComments() == null ? List.of() : to.getBlockComments());
            to.setBlockComments(all);
            from.setBlockComments(null);
        }
    }

    /** A value as a node, strings with line breaks as literal blocks. */
    static Node node(Object value) {
        return engine(false).represent(value);
    }

    static ScalarNode scalar(String text) {
        return new ScalarNode(Tag.STR, text, null, null, DumperOptions.ScalarStyle.PLAIN);
    }

    static SequenceNode newList() {
        return new SequenceNode(Tag.SEQ, new ArrayList<>(), DumperOptions.FlowStyle.BLOCK);
    }

    private static MappingNode newMap() {
        return new MappingNode(Tag.MAP, new ArrayList<>(), DumperOptions.FlowStyle.BLOCK);
    }

    private static String firstLines(YAMLException e) {
        return String.valueOf(e.getMessage()).strip();
    }

    private static org.yaml.snakeyaml.Yaml engine(boolean comments) {
        LoaderOptions load = new LoaderOptions();
        load.setProcessComments(comments);
        load.setCodePointLimit(4 << 20);
        DumperOptions dump = new DumperOptions();
        dump.setProcessComments(comments);
        dump.setDefaultFlowStyle(DumperOptions.FlowStyle.BLOCK);
        dump.setSplitLines(false);
        dump.setWidth(1 << 20);
        return new org.yaml.snakeyaml.Yaml(
                new SafeConstructor(load), new LiteralBlocks(dump), dump, load, new Yaml12());
    }

    private static final class LiteralBlocks extends Representer {
        LiteralBlocks(DumperOptions options) {
            super(options);
        }

        @Override
        protected Node representScalar(Tag tag, String value, DumperOptions.ScalarStyle style) {
            boolean lines = tag.equals(Tag.STR) && value.indexOf('\n') >= 0;
            return super.representScalar(tag, value, lines ? DumperOptions.ScalarStyle.LITERAL : style);
        }
    }

    /** {@code yes}, {@code on} and dates are strings for Lima's YAML 1.2 reader. */
    private static final class Yaml12 extends Resolver {
        @Override
        protected void addImplicitResolvers() {
            addImplicitResolver(Tag.BOOL, Pattern.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF");
            addImplicitResolver(Tag.INT, INT, "-+0123456789");
            addImplicitResolver(Tag.FLOAT, FLOAT, "-+0123456789.");
            addImplicitResolver(Tag.MERGE, MERGE, "<");
            addImplicitResolver(Tag.NULL, NULL, "~nN\0");
            addImplicitResolver(Tag.NULL, EMPTY, null);
        }
    }
}
