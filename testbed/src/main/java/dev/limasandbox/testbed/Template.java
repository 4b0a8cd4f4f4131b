package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.yaml.snakeyaml.nodes.MappingNode;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.NodeTuple;
import org.yaml.snakeyaml.nodes.ScalarNode;
import org.yaml.snakeyaml.nodes.SequenceNode;

/** A template as it was found under a locator: file, URL, {@code template:NAME} or {@code -} for standard input. */
record Template(String locator, String text) {

    static Template load(String locator) {
        try {
            if (locator.equals("-")) {
                return new Template(locator, new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
            }
            if (locator.startsWith("template:")) {
                return builtIn(locator);
            }
            if (locator.matches("https?://.*")) {
                return download(locator);
            }
            Path file = Path.of(locator.replaceFirst("^file://", ""))
                    .toAbsolutePath()
                    .normalize();
            if (!Files.exists(file)) {
                throw new Fatal("open " + file + ": no such file or directory");
            }
            return new Template(file.toString(), Files.readString(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Template builtIn(String locator) throws IOException {
        String name = locator.replaceFirst("^template:(//)?", "").replaceFirst("^_images/", "");
        for (Path own : List.of(Home.directory().resolve("_templates/" + name + ".yaml"))) {
            if (Files.exists(own)) {
                return new Template(own.toString(), Files.readString(own));
            }
        }
        try (InputStream in = Template.class.getResourceAsStream("/templates/" + name + ".yaml")) {
            if (in == null) {
                throw new Fatal("template `" + name + "` not found (the stand-in knows only default, docker and"
                        + " _images/ubuntu-lts)");
            }
            return new Template(locator, new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }
    }

    private static Template download(String locator) throws IOException {
        try {
            HttpResponse<String> answer = HttpClient.newBuilder()
                    .followRedirects(HttpClient.Redirect.NORMAL)
                    .build()
                    .send(HttpRequest.newBuilder(URI.create(locator)).build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new Fatal("expected status 200, got " + answer.statusCode());
            }
            return new Template(locator, answer.body());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Fatal("interrupted");
        }
    }

    /** The document with every {@code base:} merged in and every {@code file:} in its place. Comments stay. */
    MappingNode embedded() {
        MappingNode root = Yaml.parse(text);
        embedFiles(root);
        List<String> bases = new ArrayList<>();
        Node base = Yaml.child(root, "base");
        if (base instanceof ScalarNode one) {
            bases.add(one.getValue());
        } else if (base instanceof SequenceNode list) {
            for (Node item : list.getValue()) {
                bases.add(((ScalarNode) (item instanceof MappingNode map ? Yaml.child(map, "url") : item)).getValue());
            }
        }
        Yaml.remove(root, "base");
        for (String locator : bases) {
            merge(root, load(relative(locator)).embedded());
        }
        return root;
    }

    /** The document as {@code template copy --embed-all} prints it; the text itself where there is nothing to embed. */
    String embeddedText() {
        Map<String, Object> values = Yaml.readMap(text);
        boolean files = List.of("provision", "probes").stream()
                .anyMatch(list -> Maps.maps(values, list).stream().anyMatch(entry -> entry.containsKey("file")));
        return values.containsKey("base") || files ? Yaml.print(embedded()) : text;
    }

    private String relative(String locator) {
        if (locator.startsWith("/") || locator.matches("[a-z]+:.*")) {
            return locator;
        }
        if (List.of(locator.split("/")).contains("..")) {
            throw new Fatal("relative locator path `" + locator + "` must not contain `..` segments");
        }
        if (this.locator.equals("-") || !this.locator.startsWith("/")) {
            throw new Fatal("can't use relative locator path `" + locator + "` without a base directory");
        }
        return Path.of(this.locator).resolveSibling(locator).toString();
    }

    private void embedFiles(MappingNode root) {
        for (String list : List.of("provision", "probes")) {
            if (Yaml.child(root, list) instanceof SequenceNode entries) {
                for (Node entry : entries.getValue()) {
                    Node file = Yaml.child(entry, "file");
                    if (file != null) {
                        Node name = file instanceof MappingNode map ? Yaml.child(map, "url") : file;
                        String script = load(relative(((ScalarNode) name).getValue())).text();
                        Yaml.remove((MappingNode) entry, "file");
                        Yaml.set((MappingNode) entry, List.of("script"), Yaml.node(script));
                    }
                }
            }
        }
    }

    /**
     * Lists grow, scalars of the importing file count, maps are merged. A base's scripts and probes come first, its
     * mounts, images and forwards last (seen on 2.2.0).
     */
    private static void merge(MappingNode into, MappingNode base) {
        for (NodeTuple tuple : base.getValue()) {
            String key = ((ScalarNode) tuple.getKeyNode()).getValue();
            Node own = Yaml.child(into, key);
            Node theirs = tuple.getValueNode();
            if (own == null) {
                into.getValue().add(tuple);
            } else if (own instanceof SequenceNode ours && theirs instanceof SequenceNode more) {
                boolean baseFirst = List.of("provision", "probes").contains(key);
                ours.getValue().addAll(baseFirst ? 0 : ours.getValue().size(), more.getValue());
            } else if (own instanceof MappingNode ours && theirs instanceof MappingNode more) {
                merge(ours, more);
            }
        }
    }
}
