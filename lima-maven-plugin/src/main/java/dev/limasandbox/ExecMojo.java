package dev.limasandbox;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.inject.Inject;
import org.apache.maven.lifecycle.DefaultLifecycles;
import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugin.MojoFailureException;
import org.apache.maven.plugins.annotations.Mojo;
import org.apache.maven.plugins.annotations.Parameter;
import org.apache.maven.project.MavenProject;

/**
 * Runs a command, or Maven itself, in the project's sandbox; makes or starts the sandbox if need be.
 *
 * <p>{@code mvn lima:exec -Dcmd=test} runs this build's tests there. Typed, it runs once, in the directory that Maven was
 * started in; bound to a phase, in each module that binds it.
 */
@Mojo(name = "exec", requiresProject = false, threadSafe = true)
class ExecMojo extends LimaMojo {
    /**
     * The command. It is a run of Maven if its first word begins with -, is a phase, contains a : and no /, or is mvn or
     * ./mvnw: then nothing in it is expanded. All else is a line for sh.
     */
    @Parameter(property = "cmd")
    private String cmd;

    /** In a POM, in place of cmd: the words of the command, exactly as they are. */
    @Parameter
    private List<String> args;

    /** Where the command's output goes: terminal (as it is, live and coloured) or log (line by line into Maven's log). */
    @Parameter(property = "lima.output", defaultValue = "terminal")
    private String output;

    /**
     * Ports of the sandbox to reach from this computer while the command runs, [HOST:]GUEST,…; from the command line or
     * settings.xml only. Without it quarkus:dev and spring-boot:run get 8080.
     */
    @Parameter(property = "lima.publish")
    private String publish;

    /**
     * Lets a debugger into the tests: at 127.0.0.1:5005, or the port that this is, and they wait for it. From the command
     * line or settings.xml only.
     */
    @Parameter(property = "lima.debug")
    private String debug;

    private final DefaultLifecycles lifecycles;

    @Inject
    ExecMojo(DefaultLifecycles lifecycles) {
        this.lifecycles = lifecycles;
    }

    @Override
    boolean worksInside() {
        return true;
    }

    @Override
    void work() throws MojoExecutionException, MojoFailureException {
        refuseHostsVariables();
        if (!output.matches("terminal|log")) {
            throw new MojoExecutionException("lima.output is terminal or log, not " + output);
        }
        CommandWords.Read read = read();
        String debugged = userOnly("lima.debug", debug);
        List<String> command = read.maven() ? maven(list(Ports.options(debugged), read.words())) : read.words();
        String shown = command.stream().map(w -> w.replaceFirst("^(-D[^=]+)=.*", "$1=…"))
                .map(w -> w.matches("[A-Za-z0-9_./:=,!…+-]+") ? w : Sandbox.Lima.quote(w))
                .collect(Collectors.joining(" "));
        if (inside()) {
            getLog().info(shown + "   (in this sandbox)");
            end(shown, direct(command, where()));
            return;
        }
        if (dir == null) { // else this Maven has read nothing in there
            Trust.changed(root()).ifPresent(getLog()::warn);
        }
        ensureNamed();
        getLog().info("in the sandbox of " + root() + ", in " + where() + ": " + shown);
        List<String> words = new ArrayList<>(List.of("--no-keys"));
        String env = onlyFromUser("lima.env");
        Stream.of(env == null ? new String[0] : env.split("[, ]+")).filter(n -> !n.isEmpty())
                .forEach(n -> words.addAll(List.of("--env", n)));
        Ports.of(read.words(), userOnly("lima.publish", publish), debugged)
                .forEach(p -> words.addAll(List.of("--forward", p)));
        words.addAll(named());
        words.add("--");
        words.addAll(command);
        end(shown, output.equals("log") ? logged(words) : sandbox(where(), words));
    }

    /** What counts from the user only; set in a POM's configuration it is an error too, as it is in its properties. */
    private String userOnly(String property, String value) throws MojoExecutionException {
        String said = onlyFromUser(property);
        if (said == null && value != null) {
            throw fromProject(property, "a POM");
        }
        return said;
    }

    private CommandWords.Read read() throws MojoExecutionException {
        if (args != null && !args.isEmpty()) {
            return new CommandWords.Read(false, args.stream().map(a -> a == null ? "" : a).toList());
        }
        try {
            return CommandWords.read(cmd == null ? "" : cmd, lifecycles.getPhaseToLifecycleMap().keySet());
        } catch (IllegalArgumentException e) {
            throw new MojoExecutionException(e.getMessage());
        }
    }

    /** Maven fills in ${env.X} on this computer, with its values: a key would be written into the command. */
    private void refuseHostsVariables() throws MojoExecutionException {
        String typed = session.getUserProperties().getProperty("cmd", "");
        StringBuilder inPom = new StringBuilder();
        for (MavenProject p = session.getCurrentProject(); p != null; p = p.getParent()) {
            if (p.getOriginalModel() != null && p.getOriginalModel().getBuild() != null) {
                p.getOriginalModel().getBuild().getPlugins().stream()
                        .filter(plugin -> plugin.getArtifactId().equals("lima-maven-plugin")).forEach(plugin -> {
                            inPom.append(plugin.getConfiguration());
                            plugin.getExecutions().forEach(e -> inPom.append(e.getConfiguration()));
                        });
            }
        }
        if (typed.contains("${env.") || inPom.indexOf("${env.") >= 0) {
            throw new MojoExecutionException("${env.…} in a command would be this computer's value, written into the"
                    + " command line. The sandbox's own is $NAME in a line for sh: -Dcmd='echo \"$NAME\"'");
        }
    }

    /** ./mvnw of the build if there is one, else Maven as the sandbox has it, with what the outer one was told. */
    private List<String> maven(List<String> words) throws MojoExecutionException {
        Path wrapper = root().resolve("mvnw");
        String forward = onlyFromUser("lima.forward");
        Set<String> names = forward == null ? Set.of() : Set.of(forward.strip().split("[, ]+"));
        boolean whole = !bound() && (dir == null || where().equals(basedir.toPath()));
        int cpus = session.getRequest().getDegreeOfConcurrency() < 2 ? 0
                : inside() ? Runtime.getRuntime().availableProcessors() : found().map(is -> is.cpus).orElse(0);
        Handed handed = Handed.of(session.getRequest(), whole, names, cpus);
        if (!handed.leftOut().isEmpty()) {
            getLog().info("properties that stay out: " + String.join(", ", handed.leftOut())
                    + " (-Dlima.forward=NAME,… hands them on)");
        }
        return list(list(List.of(Files.isExecutable(wrapper) ? wrapper.toString() : "mvn"), handed.options()), words);
    }

    /** A sandbox with an insisted name that is not there yet gets the build's root, not this module's directory. */
    private void ensureNamed() throws MojoExecutionException {
        if (isNamed() && found().isEmpty()) {
            StartMojo.start(this);
        }
    }

    private static int direct(List<String> command, Path where) throws MojoExecutionException {
        try {
            return new ProcessBuilder(command).directory(where.toFile()).inheritIO().start().waitFor();
        } catch (IOException e) {
            throw new MojoExecutionException("cannot run " + command.get(0) + ": " + e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MojoExecutionException("interrupted", e);
        }
    }

    /** In a process of its own, whose lines go into the log: for mvn -l, mvnd and editors. */
    private int logged(List<String> words) throws MojoExecutionException {
        // Maven gives a plugin a class loader of its own, whose URLs are the plugin's jar and those that it needs.
        String classPath = Stream.of(((URLClassLoader) Sandbox.class.getClassLoader()).getURLs()).map(URL::getPath)
                .collect(Collectors.joining(File.pathSeparator));
        List<String> call = list(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dsandbox.command=sandbox", "-cp", classPath,
                "dev.limasandbox.Sandbox"), words);
        try {
            ProcessBuilder builder = new ProcessBuilder(call).directory(where().toFile());
            builder.environment().putAll(environment());
            Process process = builder.start();
            Thread hook = new Thread(process::destroy);
            Runtime.getRuntime().addShutdownHook(hook);
            process.getOutputStream().close();
            Thread errors = new Thread(() -> pump(process.getErrorStream()));
            errors.start();
            pump(process.getInputStream());
            errors.join();
            int code = process.waitFor();
            Runtime.getRuntime().removeShutdownHook(hook);
            return code;
        } catch (IOException e) {
            throw new MojoExecutionException("cannot run java: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MojoExecutionException("interrupted", e);
        }
    }

    private void pump(InputStream from) {
        try (var to = lines(this::log); var reader = new InputStreamReader(from, StandardCharsets.UTF_8)) {
            reader.transferTo(to);
        } catch (IOException e) {
            getLog().debug(e);
        }
    }

    /** The inner Maven's levels are the outer one's. */
    private void log(String line) {
        Consumer<String> level = line.startsWith("[ERROR]") ? getLog()::error
                : line.startsWith("[WARNING]") ? getLog()::warn
                        : line.startsWith("[DEBUG]") ? getLog()::debug : getLog()::info;
        level.accept(line.replaceFirst("^\\[(ERROR|WARNING|DEBUG|INFO)\\] ?", ""));
    }

    private static void end(String shown, int code) throws MojoExecutionException, MojoFailureException {
        if (code == 125) {
            throw new MojoExecutionException("could not run it, see above: " + shown
                    + "\n'sandbox .' in a terminal tells more; 'mvn lima:status' shows the sandbox");
        }
        if (code != 0) {
            throw new MojoFailureException("'" + shown + "' exited with status " + code + " in the sandbox");
        }
    }
}
