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
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.inject.Inject;
import org.apache.maven.execution.MavenExecutionRequest;
import org.apache.maven.lifecycle.DefaultLifecycles;
import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugin.MojoFailureException;
import org.apache.maven.plugins.annotations.Mojo;
import org.apache.maven.plugins.annotations.Parameter;
import org.apache.maven.project.MavenProject;
import org.eclipse.aether.RepositorySystem;
import org.eclipse.aether.artifact.DefaultArtifact;
import org.eclipse.aether.resolution.ArtifactRequest;
import org.eclipse.aether.resolution.ArtifactResolutionException;

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

    private final RepositorySystem repositories;

    @Inject
    ExecMojo(DefaultLifecycles lifecycles, RepositorySystem repositories) {
        this.lifecycles = lifecycles;
        this.repositories = repositories;
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
        debug = userOnly("lima.debug", debug);
        if (inside()) {
            List<String> command = command(read, Runtime.getRuntime().availableProcessors());
            getLog().info(shown(command) + "   (in this sandbox)");
            end(shown(command), direct(command, where()));
            return;
        }
        ask();
        if (dir == null) { // else this Maven has read nothing in there
            Trust.changed(root(), session.getProjects()).ifPresent(getLog()::warn);
        }
        List<String> words = new ArrayList<>(List.of("--no-keys"));
        String env = onlyFromUser("lima.env");
        Stream.of(env == null ? new String[0] : env.split("[, ]+")).filter(n -> !n.isEmpty())
                .forEach(n -> words.addAll(List.of("--env", n)));
        Ports.of(read.words(), userOnly("lima.publish", publish), debug)
                .forEach(p -> words.addAll(List.of("--forward", p)));
        Sandbox.Instance is = ensured(false);
        List<String> command = command(read, is.cpus);
        if (read.maven()) {
            jvmOptions = ofThisMaven();
        }
        getLog().info("in the sandbox " + is.name + ", in " + where() + ": " + shown(command));
        words.addAll(List.of("--name", is.name, "--dir", where().toString(), "--"));
        words.addAll(command);
        end(shown(command), output.equals("log") ? logged(words) : sandbox(where(), words));
    }

    private List<String> command(CommandWords.Read read, int cpus) throws MojoExecutionException {
        return read.maven() ? maven(list(Ports.options(debug), read.words()), cpus) : read.words();
    }

    /** The command as one line for the user; of properties only the names, as a value may be a secret. */
    private static String shown(List<String> command) {
        return command.stream().map(w -> w.replaceFirst("^(-D[^=]+)=.*", "$1=…"))
                .map(w -> w.matches("[A-Za-z0-9_./:=,!…+-]+") ? w : Sandbox.Lima.quote(w))
                .collect(Collectors.joining(" "));
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
    private List<String> maven(List<String> words, int cpus) throws MojoExecutionException {
        Path wrapper = root().resolve("mvnw");
        String forward = onlyFromUser("lima.forward");
        Set<String> names = forward == null ? Set.of() : Set.of(forward.strip().split("[, ]+"));
        boolean whole = !bound() && (dir == null || where().equals(basedir.toPath()));
        Handed handed = Handed.of(session.getRequest(), whole, names, cpus);
        if (!handed.leftOut().isEmpty()) {
            getLog().info("properties that stay out: " + String.join(", ", handed.leftOut())
                    + " (-Dlima.forward=NAME,… hands them on)");
        }
        return list(list(List.of(Files.isExecutable(wrapper) ? wrapper.toString() : "mvn"), handed.options()), words);
    }

    /** What the sandbox's Maven is to have of this one: its version, and what its settings say of repositories. */
    private List<String> ofThisMaven() throws MojoExecutionException {
        List<String> options = new ArrayList<>(jvmOptions);
        MavenExecutionRequest request = session.getRequest();
        Stream.of(request.getUserSettingsFile(), request.getGlobalSettingsFile()).filter(f -> f != null && f.isFile())
                .forEach(f -> options.addAll(List.of("--settings", f.getAbsolutePath())));
        if (!request.getActiveProfiles().isEmpty()) {
            options.addAll(List.of("--profiles", String.join(",", request.getActiveProfiles())));
        }
        repository().ifPresent(r -> options.addAll(List.of("--tail", r.toString())));
        if (!Files.isExecutable(root().resolve("mvnw"))) {
            String version = session.getSystemProperties().getProperty("maven.version", "");
            mavenZip(version).ifPresent(
                    zip -> options.addAll(List.of("--maven", version, "--maven-zip", zip.toString())));
        }
        return options;
    }

    /** The running Maven as it is distributed: from the local repository, else downloaded as a plugin would be. */
    private Optional<Path> mavenZip(String version) {
        try {
            return Optional.of(repositories.resolveArtifact(session.getRepositorySession(), new ArtifactRequest(
                    new DefaultArtifact("org.apache.maven", "apache-maven", "bin", "zip", version),
                    session.getCurrentProject().getRemotePluginRepositories(), null)).getArtifact().getFile().toPath());
        } catch (ArtifactResolutionException e) {
            getLog().warn("Maven " + version + " cannot be had for the sandbox, which takes its distribution's: "
                    + e.getMessage());
            return Optional.empty();
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
