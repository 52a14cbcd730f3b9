setenv SINGULARITY_DOCKER_USERNAME 'gitlab+deploy-token-7'
setenv SINGULARITY_DOCKER_PASSWORD 'gldt-x_Y'
setenv APPTAINER_DOCKER_USERNAME 'gitlab+deploy-token-7'
setenv APPTAINER_DOCKER_PASSWORD 'gldt-x_Y'
