package dev.limasandbox;

import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.asciidoctor.Asciidoctor;
import org.asciidoctor.Attributes;
import org.asciidoctor.Options;
import org.asciidoctor.SafeMode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.codegen.docgen.manpage.ManPageGenerator;

/** Man pages of the scripts and of their verbs: picocli writes AsciiDoc, Asciidoctor makes roff of it. */
class ManPages {
    private ManPages() {}

    /** Takes the folder for the AsciiDoc, the one for the pages, and a time whose date they get. */
    public static void main(String[] args) throws IOException {
        List<CommandSpec> all = new ArrayList<>();
        for (Path script : Programs.scripts()) {
            CommandSpec spec = Specs.of(script);
            all.add(spec);
            page(spec);
            spec.subcommands().values().forEach(verb -> page(verb.getCommandSpec()));
        }
        File asciidoc = new File(args[0]);
        ManPageGenerator.generateManPage(asciidoc, null, new boolean[0], false, all.toArray(CommandSpec[]::new));
        try (Asciidoctor asciidoctor = Asciidoctor.Factory.create()) {
            for (File page : asciidoc.listFiles((folder, name) -> name.endsWith(".adoc"))) {
                asciidoctor.convertFile(page, Options.builder().backend("manpage").safe(SafeMode.UNSAFE)
                        .toDir(new File(args[1])).mkDirs(true)
                        .attributes(Attributes.builder().attribute("docdate", args[2].substring(0, 10)).build()).build());
            }
        }
    }

    /** What follows the options has no heading in a terminal's help, and a man page keeps its lines as they are. */
    private static void page(CommandSpec spec) {
        spec.version("lima-sandbox " + Sandbox.VERSION);
        List<String> footer = new ArrayList<>(List.of(spec.usageMessage().footer()));
        while (!footer.isEmpty() && footer.get(0).isBlank()) {
            footer.remove(0);
        }
        if (!footer.isEmpty()) {
            spec.usageMessage().footerHeading("Notes%n");
            spec.usageMessage().footer("----\n" + String.join("\n", footer).strip() + "\n----");
        }
    }
}
