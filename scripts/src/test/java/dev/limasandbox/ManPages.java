package dev.limasandbox;

import java.io.File;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Model.CommandSpec;

/**
 * Has picocli write the scripts' man pages, one for each command and verb, as AsciiDoc: what the profile {@code man} calls,
 * before Asciidoctor makes roff of it. Only that profile has picocli-codegen, hence the call by name.
 */
class ManPages {
    private ManPages() {}

    public static void main(String[] args) throws ReflectiveOperationException {
        List<CommandSpec> all = new ArrayList<>();
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            all.add(spec);
            page(spec);
            spec.subcommands().values().forEach(verb -> page(verb.getCommandSpec()));
        }
        Class.forName("picocli.codegen.docgen.manpage.ManPageGenerator")
                .getMethod("generateManPage", File.class, File.class, boolean[].class, boolean.class,
                        CommandSpec[].class)
                .invoke(null, new File(args[0]), null, new boolean[1], false, all.toArray(CommandSpec[]::new));
    }

    /** What follows the options has no heading in a terminal's help, and a man page keeps its lines as they are. */
    private static void page(CommandSpec spec) {
        spec.version("lima-sandbox " + Sandbox.VERSION);
        List<String> footer = new ArrayList<>(List.of(spec.usageMessage().footer()));
        while (!footer.isEmpty() && footer.get(0).isBlank()) {
            footer.remove(0);
        }
        if (!footer.isEmpty()) {
            footer.add(0, "----");
            footer.add("----");
            spec.usageMessage().footerHeading("Notes%n");
            spec.usageMessage().footer(footer.toArray(String[]::new));
        }
    }
}
