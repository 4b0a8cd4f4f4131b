package dev.limasandbox;

import java.util.List;
import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.LifecyclePhase;
import org.apache.maven.plugins.annotations.Mojo;

/** Makes the project's sandbox, or starts it; one that runs stays as it is. */
@Mojo(name = "start", defaultPhase = LifecyclePhase.PRE_INTEGRATION_TEST, requiresProject = false, threadSafe = true)
class StartMojo extends LimaMojo {
    @Override
    void work() throws MojoExecutionException {
        start(this);
    }

    /** Modules that build at the same time wait for one another at the sandbox's lock. */
    static void start(LimaMojo mojo) throws MojoExecutionException {
        List<String> words = list(List.of("--no-keys"), mojo.named());
        boolean missing = mojo.isNamed() && mojo.found().isEmpty();
        words = list(words, missing ? List.of("--dir", mojo.root().toString()) : List.of());
        if (mojo.sandbox(mojo.root(), list(words, List.of("--", "true"))) != 0) {
            throw new MojoExecutionException("the sandbox could not be started, see above");
        }
    }
}
